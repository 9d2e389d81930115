"""Work in a process of its own: one that may abort, and that gives back all its memory.

What must stay true: a crash there is an error here; the process dies with the one that started it; what it and its
libraries print goes to a log, never to the terminal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from twinctl import errors
from twinctl.errors import CheckFailed, TwinctlError
from twinctl.verification.reference import GreedyAnswers, Ids, ModelOutput, Reference

ReportProgress = Callable[[int, int], None]
SECONDS_PER_FILE = 240.0  # for asking one file; what it takes to load comes on top
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, prctl(2)


@dataclass(frozen=True)
class Trained:
    """What was trained: an adapter on its base, or, with no adapter, a whole model, which `base` then is; on `tokens`,
    whose TokensInfo's fields are `info`.
    """

    base: Path
    adapter: Path | None
    tokens: Path
    info: Mapping[str, Any]

    def words(self) -> dict[str, Any]:
        """As plain values."""
        adapter = str(self.adapter) if self.adapter else None
        return {"base": str(self.base), "adapter": adapter, "tokens": str(self.tokens), "info": dict(self.info)}


def make_reference(folder: Path, trained: Trained, *, log: Path, progress: ReportProgress | None = None) -> Reference:
    """Ask the trained model, by transformers and PEFT, and keep what it said in `folder`."""
    _run({"do": "reference", "reference": str(folder), "make": trained.words()}, log, progress)
    return Reference.load(folder)


def ask_merged(
    model: Path, reference: Path, *, trained: Trained | None = None, log: Path, progress: ReportProgress | None = None
) -> ModelOutput:
    """Ask a model folder, by plain transformers; before it the trained model, where `trained` is given: one process is
    cheaper than two.
    """
    make = trained.words() if trained else None
    return _ask({"do": "merged", "file": str(model), "reference": str(reference), "make": make}, log, progress)


def ask_gguf(file: Path, reference: Path, *, log: Path, progress: ReportProgress | None = None) -> ModelOutput:
    """Ask a GGUF file, by llama.cpp. Raises CheckFailed for one that it does not load or that makes it crash."""
    return _ask({"do": "gguf", "file": str(file), "reference": str(reference)}, log, progress)


def _ask(request: dict[str, Any], log: Path, progress: ReportProgress | None) -> ModelOutput:
    with tempfile.TemporaryDirectory(prefix="twinctl-proof-") as folder:
        answer = Path(folder, "seen")
        _run({**request, "answer": str(answer)}, log, progress)
        with np.load(answer.with_suffix(".npz"), allow_pickle=False) as arrays:
            told = json.loads(answer.with_suffix(".json").read_text(encoding="utf-8"))
            answers = GreedyAnswers(**told.pop("answers"))
            return ModelOutput(log_probs=arrays["log_probs"], best=arrays["best"], answers=answers, **told)


def _run(request: dict[str, Any], log: Path, progress: ReportProgress | None) -> None:
    """Do it there. Raises what was raised there, CheckFailed where the process died."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "twinctl.verification.isolated_process",
        json.dumps({"seconds": SECONDS_PER_FILE, **request}),
    ]
    # From another folder, `twinctl` might be another one: this process's own way to its modules goes along.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            told = _listen(process.stdout, progress or (lambda done, total: None))
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if error := told.get("error"):
        raise getattr(errors, error["code"])(error["message"], error["hint"])
    if status or not told.get("done"):
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        name = Path(request.get("file", "the model")).name
        raise CheckFailed(f"{name}: the check's process died ({how})", f"what it printed is in {log}")


def _listen(lines: Any, progress: ReportProgress) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in lines:
        last = json.loads(line)
        if "of" in last:
            progress(last["at"], last["of"])
    return last


def main() -> None:
    """Do what the first argument asks, in JSON; tell about it in JSON Lines on stdout."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)  # libraries that print do so into the log
        try:
            _do(json.loads(sys.argv[1]), lambda done, total: _tell(out, {"at": done, "of": total}))
            _tell(out, {"done": True})
        except TwinctlError as error:
            told = {"code": error.code, "message": error.message, "hint": error.hint}
            _tell(out, {"error": told})
        sys.stderr.flush()
        os._exit(0)  # llama.cpp and torch may crash while they are taken down


def _tell(out: BinaryIO, line: Mapping[str, Any]) -> None:
    out.write(json.dumps(line).encode() + b"\n")


def _do(request: dict[str, Any], progress: ReportProgress) -> None:
    seconds = request["seconds"]
    if request["do"] == "gguf":
        seen = _of_gguf(Path(request["file"]), Reference.load(Path(request["reference"])), seconds, progress)
        return _keep(seen, Path(request["answer"]))
    from twinctl.engine.unsloth_import import QUIET

    os.environ.update(QUIET)
    from twinctl.verification.reference_model import ask_model_dir

    reference = Path(request["reference"])
    parts = 2 if request["make"] and request["do"] == "merged" else 1

    def of_part(part: int) -> ReportProgress:
        return lambda done, total: progress(part * total + done, parts * total)

    if request["make"]:
        _of_trained(request["make"], seconds / parts, of_part(0)).save(reference)
    if request["do"] == "merged":
        said, last = Reference.load(reference), of_part(parts - 1)
        seen = ask_model_dir(Path(request["file"]), said, seconds=seconds / parts, progress=last)
        _keep(seen, Path(request["answer"]))
    return None


def _of_trained(words: Mapping[str, Any], seconds: float, progress: ReportProgress) -> Reference:
    from twinctl.data.tokens import TokensInfo
    from twinctl.verification.reference_model import ask_trained_model

    adapter, info = Path(words["adapter"]) if words["adapter"] else None, TokensInfo(**words["info"])
    tokens = Path(words["tokens"])
    return ask_trained_model(Path(words["base"]), adapter, tokens, info, seconds=seconds, progress=progress)


def _of_gguf(file: Path, reference: Reference, seconds: float, progress: ReportProgress) -> ModelOutput:
    from twinctl.gguf.runtime import Llama

    began = time.monotonic()
    with Llama(file) as llama:
        positions, limit, prompts = len(reference.top), 2 * reference.limit, reference.prompts
        total = positions + limit * len(prompts)  # tokens, of which each takes about as long
        log_probs, best = _distributions(
            llama, reference, began + 0.6 * seconds, progress=lambda done: progress(done, total)
        )
        answers = llama.greedy(
            prompts,
            limit,
            began + seconds,
            progress=lambda longest: progress(positions + longest * len(prompts), total),
        )
        progress(total, total)
        return ModelOutput(
            log_probs=log_probs,
            best=best,
            answers=GreedyAnswers(
                [one.ids for one in answers], [one.ended for one in answers], [one.cut for one in answers]
            ),
            probe_ids=[llama.tokenize(probe.text, special=probe.special) for probe in reference.probes],
            facts={"eos": llama.eos, "stops": [token for token in reference.stops if llama.ends(token)]},
        )


def _distributions(
    llama: Any, reference: Reference, deadline: float, progress: Callable[[int], None]
) -> tuple[Any, Ids]:
    """Log-probabilities at the reference's tokens, and the best token, position by position while there is time."""
    from twinctl.verification.reference import at

    found, start = [], 0
    for row in reference.rows:
        for logits in llama.logits(row):
            found.append(at(logits, reference.top[start : start + len(logits)]))
            start += len(logits)
            progress(start)
            if time.monotonic() > deadline:
                break
        if time.monotonic() > deadline:
            break
    return np.concatenate([part for part, _ in found]), np.concatenate([best for _, best in found])


def _keep(seen: ModelOutput, answer: Path) -> None:
    np.savez(answer.with_suffix(".npz"), log_probs=seen.log_probs, best=seen.best)
    told = {"answers": asdict(seen.answers), "probe_ids": seen.probe_ids, "facts": seen.facts}
    answer.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
