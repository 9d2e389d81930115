"""A file is proven in the phase that makes it, before it gets its final name.

What must stay true: what the trained model said of the held-out rows is kept with the merged model (not in its out/,
which is pushed: it holds the author's writing) and asked again where it is gone, so every file is compared with the
same words.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.errors import CheckFailed
from twinctl.pipeline.event import Event, Watch
from twinctl.pipeline.kind import Kind, is_exported
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import REPORT, AnyAttempt
from twinctl.pipeline.run_job import command_words
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import Lock
from twinctl.workspace.memo import file_sha256

if TYPE_CHECKING:
    from twinctl.verification.verify import VerificationReport

REFERENCE = "reference"
EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class ReferenceSource:
    """Where a merged model keeps what the trained model said; `trained`: the model to ask, where that is gone."""

    folder: Path
    trained: TrainedModel | None


def trained_model(view: RunView, model: Result) -> TrainedModel:
    """What was trained and became this model: base and adapter (by method full it is the model itself), and the tokens.
    May download the base.
    """
    adapter = next((result for result in model.ancestors() if result.kind == Kind.ADAPTER), None)
    tokens = model.made_from(Kind.TOKENS)
    base = view.base.folder(weights=True) if adapter else model.out.resolve()
    folder = adapter.out.resolve() if adapter else None
    return TrainedModel(base, folder, tokens.out.resolve(), tokens.tokens_info())


def reference_source(view: RunView, model: Result) -> ReferenceSource:
    """The reference of a merged model."""
    folder = reference_of(model.artifact)
    return ReferenceSource(folder.resolve(), None if folder.is_dir() else trained_model(view, model))


def prove_model(attempt: AnyAttempt, trained: TrainedModel) -> dict[str, Any]:
    """Prove the merged model in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.verification.verify import prove_merged

    attempt.stage("proving that it is the model that was trained")
    return prove_merged(
        attempt.out,
        attempt.artifact.path / REFERENCE,
        log=attempt.artifact.path / "log.txt",
        trained=trained,
        report=attempt.out / REPORT,
        progress=_telling(attempt.emit),
    ).summary()


def prove_4bit(attempt: AnyAttempt, source: ReferenceSource) -> dict[str, Any]:
    """Prove the merged and rounded model in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.verification.verify import prove_merged

    reference, log = _reference(attempt, source), attempt.artifact.path / "log.txt"
    attempt.stage("proving that it is the model that was trained")
    report, progress = attempt.out / REPORT, _telling(attempt.emit)
    return prove_merged(attempt.out, reference, "4bit", log=log, report=report, progress=progress).summary()


def prove_file(attempt: AnyAttempt, file: Path, quant: str, source: ReferenceSource) -> dict[str, Any]:
    """Prove a GGUF file; the report is written into the file's folder. Raises CheckFailed."""
    from twinctl.verification.verify import prove_gguf

    reference, log = _reference(attempt, source), attempt.artifact.path / "log.txt"
    attempt.stage(f"proving {file.name}")
    report, progress = _report_of(file), _telling(attempt.emit)
    return prove_gguf(file, quant, reference, log=log, report=report, progress=progress).summary()


def _reference(attempt: AnyAttempt, source: ReferenceSource) -> Path:
    def trained() -> TrainedModel:
        assert source.trained is not None
        return source.trained

    return _asked(source.folder, trained, attempt.artifact.path, attempt.emit)


def _asked(reference: Path, trained: Callable[[], TrainedModel], folder: Path, watch: Watch) -> Path:
    """What the trained model said, which is asked now, and kept in `folder`, if the merged model has lost it."""
    from twinctl.verification.isolated_process import make_reference

    if reference.is_dir():
        return reference
    watch(Event("stage", {"text": "asking the trained model"}))
    kept, log = folder / REFERENCE, folder / "log.txt"
    make_reference(kept, trained(), log=log, progress=_telling(watch))
    return kept


def prove_again(view: RunView, result: Result, watch: Watch, *, wait: bool = False) -> Result:
    """A finished merged model or GGUF file: every byte is what was written, and it is still what was trained. One that
    was made without a proof has it from then on: in the record, which is given back, and in a report next to the file.

    Raises UpstreamError or CheckFailed; the file stays where it is. BusyError, unless `wait`, where another process is
    at it.
    """
    artifact, record = result.artifact, result.record
    with _room(artifact, wait) as folder:
        keeps, now = folder == artifact.path, Result.of(artifact)
        if now is not None and is_proven(now.record) and not is_proven(record):
            return now  # by the process that was waited for

        def emit(event: Event) -> None:
            watch(event)
            if keeps:
                artifact.append_event(event.kind, **event.values)

        emit(Event("stage", {"text": "comparing every byte with what was written"}))
        artifact.check(file_sha256, view.name)
        try:
            found, report = _prove(view, result, emit, folder)
        except CheckFailed as error:
            emit(Event("failed", {"message": error.message}))
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


def _prove(view: RunView, result: Result, watch: Watch, folder: Path) -> tuple[VerificationReport, Path]:
    """The report, and where it belongs; `folder` gets the log, and what the trained model says where it has to be
    asked.
    """
    from twinctl.verification.verify import prove_gguf, prove_merged

    log, progress = folder / "log.txt", _telling(watch)
    model = result if result.kind == Kind.MODEL else result.made_from(Kind.MODEL)
    reference = _asked(reference_of(model.artifact), lambda: trained_model(view, model), folder, watch)
    watch(Event("stage", {"text": "proving that it is the model that was trained"}))
    if result.kind != Kind.GGUF:
        kind = "4bit" if result.kind == Kind.MODEL_4BIT else "16bit"
        return prove_merged(result.out, reference, kind, log=log, progress=progress), result.out / REPORT
    file = next(result.out.glob("*.gguf"))
    found = prove_gguf(file, result.record.recipe["quant"], reference, log=log, progress=progress)
    return found, _report_of(file)


def _report_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.{REPORT}")


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


def _telling(watch: Watch) -> Callable[[int, int], None]:
    """Progress as events, not more than one every few seconds."""
    said = [0.0]

    def tell(done: int, total: int) -> None:
        if time.monotonic() - said[0] >= EVERY_SECONDS:
            said[0] = time.monotonic()
            watch(Event("progress", {"checked": done, "of": total}))

    return tell
