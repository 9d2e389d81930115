"""Models are asked in a process of their own: one that may abort, and that gives back all its memory.

What must stay true: a crash there is an error here; what it and its libraries print goes to a log, never to the
terminal.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from twinctl.child_process import ChildDied, report, run_module
from twinctl.errors import CheckFailed
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import ReportProgress
from twinctl.verification.reference import ModelOutput, Reference

SECONDS_PER_FILE = 240.0  # for asking one file; the time to load it comes on top
_MODULE = "twinctl.verification.isolated_process"


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
    try:
        with log.open("ab") as sink:
            for message in run_module(_MODULE, _REQUEST.dump_json(request).decode(), stderr=sink):
                if progress:
                    progress(message["at"], message["of"])
    except ChildDied as died:
        how = signal.Signals(-died.status).name if died.status < 0 else f"exit code {died.status}"
        name = request.file.name if request.file else "the model"
        raise CheckFailed(f"{name}: the check's process died ({how})", f"what it printed is in {log}") from died


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
    request = _REQUEST.validate_json(sys.argv[1])
    report(lambda send: _do(request, lambda done, total: send({"at": done, "of": total})))
