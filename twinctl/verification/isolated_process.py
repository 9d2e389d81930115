"""Models are asked in a process of their own: one that may abort, and that gives back all its memory.

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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from twinctl import errors
from twinctl.errors import CheckFailed, TwinctlError
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.verification.reference import ModelOutput, Reference, ReportProgress

SECONDS_PER_FILE = 240.0  # for asking one file; the time to load it comes on top
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, prctl(2)


@dataclass(frozen=True)
class _Request:
    """What the process does: ask `trained`, and save its output as `reference`; ask `file`, and save its output in the
    folder `output`; or one after the other.
    """

    reference: Path
    trained: TrainedModel | None = None
    file: Path | None = None
    is_gguf: bool = False
    output: Path | None = None
    seconds: float = SECONDS_PER_FILE


_REQUEST = TypeAdapter(_Request)


def make_reference(
    folder: Path, trained: TrainedModel, *, log: Path, progress: ReportProgress | None = None
) -> Reference:
    """Ask the trained model, by transformers and PEFT, and keep its output in `folder`."""
    _run(_Request(folder, trained), log, progress)
    return Reference.load(folder)


def ask_merged(
    model: Path,
    reference: Path,
    *,
    trained: TrainedModel | None = None,
    log: Path,
    progress: ReportProgress | None = None,
) -> ModelOutput:
    """Ask a model folder, by plain transformers; before it the trained model, where `trained` is given: one process is
    cheaper than two.
    """
    with tempfile.TemporaryDirectory(prefix="twinctl-proof-") as output:
        _run(_Request(reference, trained, model, output=Path(output)), log, progress)
        return ModelOutput.load(Path(output))


def ask_gguf(file: Path, reference: Path, *, log: Path, progress: ReportProgress | None = None) -> ModelOutput:
    """Ask a GGUF file, by llama.cpp. Raises CheckFailed for one that it does not load or that makes it crash."""
    with tempfile.TemporaryDirectory(prefix="twinctl-proof-") as output:
        _run(_Request(reference, file=file, is_gguf=True, output=Path(output)), log, progress)
        return ModelOutput.load(Path(output))


def _run(request: _Request, log: Path, progress: ReportProgress | None) -> None:
    """Start the process and wait for it. Raises what it raised, CheckFailed where it died."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "twinctl.verification.isolated_process", _REQUEST.dump_json(request).decode()]
    # In another working directory, `twinctl` might be another package: the process gets this one's module path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            last = _last_message(process.stdout, progress or (lambda done, total: None))
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if error := last.get("error"):
        raise getattr(errors, error["code"])(error["message"], error["hint"])
    if status or not last.get("done"):
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        name = request.file.name if request.file else "the model"
        raise CheckFailed(f"{name}: the check's process died ({how})", f"what it printed is in {log}")


def _last_message(lines: Iterable[bytes], progress: ReportProgress) -> dict[str, Any]:
    """The last message of the process; reports the progress that those before it tell."""
    message: dict[str, Any] = {}
    for line in lines:
        message = json.loads(line)
        if "of" in message:
            progress(message["at"], message["of"])
    return message


def main() -> None:
    """Do what the first argument asks, in JSON; write progress and result to stdout as JSON Lines."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)  # libraries that print do so into the log
        try:
            _do(_REQUEST.validate_json(sys.argv[1]), lambda done, total: _send(out, {"at": done, "of": total}))
            _send(out, {"done": True})
        except TwinctlError as error:
            _send(out, {"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        sys.stderr.flush()
        os._exit(0)  # llama.cpp and torch may crash while they are torn down


def _send(out: BinaryIO, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message).encode() + b"\n")


def _do(request: _Request, progress: ReportProgress) -> None:
    parts = [part for part in (request.trained, request.file) if part is not None]
    seconds = request.seconds / len(parts)

    def part_progress(part: int) -> ReportProgress:
        return lambda done, total: progress(part * total + done, len(parts) * total)

    if request.is_gguf:
        from twinctl.verification.gguf_model import ask_gguf_file as ask
    else:
        from twinctl.engine.unsloth_import import QUIET

        os.environ.update(QUIET)
        from twinctl.verification.reference_model import ask_model_dir as ask
    if request.trained is not None:
        from twinctl.verification.reference_model import ask_trained_model

        ask_trained_model(request.trained, seconds=seconds, progress=part_progress(0)).save(request.reference)
    if request.file is not None and request.output is not None:
        reference, last = Reference.load(request.reference), part_progress(len(parts) - 1)
        ask(request.file, reference, seconds=seconds, progress=last).save(request.output)


if __name__ == "__main__":
    main()
