"""A file is proven in the phase that makes it, before it gets its final name: see the room `proof`.

What must stay true: what the trained model said of the held-out rows is kept beside the merged model (not in its out/,
which is pushed: it holds the author's writing) and asked anew where it is gone, so every file is compared with the
same words.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.data.tokens import TokensInfo
from twinctl.errors import CheckFailed
from twinctl.pipeline.kind import Kind, is_exported
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import REPORT, Attempt
from twinctl.pipeline.run_job import command_words
from twinctl.pipeline.run_view import RunView
from twinctl.pipeline.watch import Watch
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import Lock
from twinctl.workspace.memo import file_sha256

if TYPE_CHECKING:
    from twinctl.verification.isolated_process import Trained
    from twinctl.verification.verify import VerificationReport

REFERENCE = "reference"
EVERY_SECONDS = 2.0


def locate_trained(view: RunView, model: Result) -> dict[str, Any]:
    """Where the parts are of what was trained and became this model: base and adapter (by method full it is the model
    itself), and the tokens. May download the base.
    """
    adapter = next((result for result in model.ancestors() if result.kind == Kind.ADAPTER), None)
    tokens = model.made_from(Kind.TOKENS)
    return {
        "base": str(view.base.folder(weights=True) if adapter else model.out.resolve()),
        "adapter": str(adapter.out.resolve()) if adapter else None,
        "tokens": str(tokens.out.resolve()),
        "info": asdict(tokens.tokens_info()),
    }


def locate_reference(view: RunView, model: Result) -> dict[str, Any]:
    """Where a merged model keeps what the trained model said, and, if that is gone, where that model lies."""
    reference = reference_of(model.artifact)
    trained = None if reference.is_dir() else locate_trained(view, model)
    return {"reference": str(reference.resolve()), "trained": trained}


def prove_model(attempt: Attempt) -> dict[str, Any]:
    """The merged model in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.verification.verify import prove_merged

    attempt.stage("proving that it is the model that was trained")
    found = prove_merged(
        attempt.out,
        attempt.artifact.path / REFERENCE,
        log=attempt.artifact.path / "log.txt",
        trained=trained_of(attempt.inputs["trained"]),
        report=attempt.out / REPORT,
        progress=_telling(attempt.event),
    )
    return found.summary()


def prove_4bit(attempt: Attempt) -> dict[str, Any]:
    """The merged model, rounded, in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.verification.verify import prove_merged

    reference, log = _reference(attempt), attempt.artifact.path / "log.txt"
    attempt.stage("proving that it is the model that was trained")
    report = attempt.out / REPORT
    found = prove_merged(attempt.out, reference, "4bit", log=log, report=report, progress=_telling(attempt.event))
    return found.summary()


def prove_file(attempt: Attempt, file: Path, quant: str) -> dict[str, Any]:
    """A GGUF file, whose report comes to lie beside it. Raises CheckFailed."""
    from twinctl.verification.verify import prove_gguf

    reference, log = _reference(attempt), attempt.artifact.path / "log.txt"
    attempt.stage(f"proving {file.name}")
    report, tell = _report_of(file), _telling(attempt.event)
    return prove_gguf(file, quant, reference, log=log, report=report, progress=tell).summary()


def _reference(attempt: Attempt) -> Path:
    words, reference = attempt.inputs["trained"], Path(attempt.inputs["reference"])
    return _asked(reference, lambda: words, attempt.artifact.path, attempt.event)


def _asked(reference: Path, locate: Callable[[], Mapping[str, Any]], folder: Path, event: Callable[..., None]) -> Path:
    """What the trained model said, which is asked now, and kept in `folder`, if the merged model has lost it."""
    from twinctl.verification.isolated_process import make_reference

    if reference.is_dir():
        return reference
    event("stage", text="asking the trained model")
    kept, log = folder / REFERENCE, folder / "log.txt"
    make_reference(kept, trained_of(locate()), log=log, progress=_telling(event))
    return kept


def prove_again(view: RunView, result: Result, watch: Watch, *, wait: bool = False) -> Result:
    """A finished merged model or GGUF file: every byte is what was written, and it is still what was trained. One that
    was made without a proof has it from then on: in the record, which is given back, and the report beside the file.

    Raises UpstreamError or CheckFailed; the file stays where it is. BusyError, unless `wait`, where another process is
    at it.
    """
    artifact, record = result.artifact, result.record
    with _room(artifact, wait) as folder:
        keeps, now = folder == artifact.path, Result.of(artifact)
        if now is not None and is_proven(now.record) and not is_proven(record):
            return now  # by the process that was waited for

        def event(kind: str, **values: Any) -> None:
            watch({"event": kind, **values})
            if keeps:
                artifact.append_event(kind, **values)

        event("stage", text="comparing every byte with what was written")
        artifact.check(file_sha256, view.name)
        try:
            found, report = _prove(view, result, event, folder)
        except CheckFailed as error:
            event("failed", message=error.message)
            raise
        if is_proven(record) or not keeps:
            return result
        write_json(report, found.document())
        return replace(result, record=artifact.amend(report, proof=found.summary()))


@contextmanager
def _room(artifact: Artifact, wait: bool) -> Iterator[Path]:
    """Where a proof's log and reference go: to the artifact, held meanwhile, or for one that is read-only elsewhere."""
    if not os.access(artifact.path, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="twinctl-proof-") as folder:
            yield Path(folder)
        return
    lock = Lock(artifact.path, command_words())
    lock.acquire(wait=wait)
    try:
        yield artifact.path
    finally:
        lock.release()


def _prove(view: RunView, result: Result, event: Callable[..., None], folder: Path) -> tuple[VerificationReport, Path]:
    """The report, and where it belongs; `folder` gets the log, and what the trained model says where it has to be
    asked.
    """
    from twinctl.verification.verify import prove_gguf, prove_merged

    log, progress = folder / "log.txt", _telling(event)
    model = result if result.kind == Kind.MODEL else result.made_from(Kind.MODEL)
    reference = _asked(reference_of(model.artifact), lambda: locate_trained(view, model), folder, event)
    event("stage", text="proving that it is the model that was trained")
    if result.kind != Kind.GGUF:
        kind = "4bit" if result.kind == Kind.MODEL_4BIT else "16bit"
        return prove_merged(result.out, reference, kind, log=log, progress=progress), result.out / REPORT
    file = next(result.out.glob("*.gguf"))
    found = prove_gguf(file, result.record.recipe["quant"], reference, log=log, progress=progress)
    return found, _report_of(file)


def _report_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.{REPORT}")


def trained_of(words: Mapping[str, Any]) -> Trained:
    """What `locate_trained` found, as the proof takes it."""
    from twinctl.verification.isolated_process import Trained

    adapter = Path(words["adapter"]) if words["adapter"] else None
    return Trained(Path(words["base"]), adapter, Path(words["tokens"]), TokensInfo(**words["info"]))


def reference_of(artifact: Artifact) -> Path:
    """Where a merged model's artifact keeps what the trained model said."""
    return artifact.path / REFERENCE


def is_proven(record: Record) -> bool:
    """Whether it is what was trained, or was proven to be when it was exported."""
    return not is_exported(record) or bool(record.metrics.get("proof"))


def to_prove(record: Record, run: str) -> str | None:
    """What to type for a merged model or GGUF file that was made without a proof; None for one that came from the Hub
    so, without what it was made of.
    """
    if record.phase == "pull":
        return None
    what = {Kind.MODEL: "", Kind.MODEL_4BIT: " 4bit", Kind.GGUF: f" -q {record.recipe.get('quant')}"}
    return f"twinctl export{what[Kind(record.produces)]} --verify --run {run}"


def _telling(event: Callable[..., None]) -> Callable[[int, int], None]:
    """Progress as events, not more than one every few seconds."""
    said = [0.0]

    def tell(done: int, total: int) -> None:
        if time.monotonic() - said[0] >= EVERY_SECONDS:
            said[0] = time.monotonic()
            event("progress", checked=done, of=total)

    return tell
