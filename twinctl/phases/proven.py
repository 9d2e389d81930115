"""A file is proven in the phase that makes it, before it gets its final name: see the room `proof`.

What must stay true: what the trained model said of the held-out rows is kept beside the merged model (not in its out/,
which is pushed: it holds the author's writing) and asked anew where it is gone, so every file is compared with the
same words.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.phases.base import REPORT, Attempt
from twinctl.phases.base_model import base_of
from twinctl.phases.upstream import ancestors, made_from, tokens_info
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

if TYPE_CHECKING:
    from twinctl.proof.apart import Trained

REFERENCE = "reference"
EVERY_SECONDS = 2.0


def locate_trained(workspace: Workspace, run: Run, model: Artifact, record: Record) -> dict[str, Any]:
    """Where what was trained lies that became this model: base and adapter (by method full it is the model itself), and
    the tokens. May download the base.
    """
    adapter = next((found[1] for found in ancestors(workspace, record) if found[2].produces == "adapter"), None)
    _, tokens, tokens_record = made_from(workspace, record, "tokens")
    return {
        "base": str(base_of(run).folder(weights=True) if adapter else model.out.resolve()),
        "adapter": str(adapter.out.resolve()) if adapter else None,
        "tokens": str(tokens.out.resolve()),
        "info": tokens_info(workspace, tokens, tokens_record),
    }


def locate_reference(workspace: Workspace, run: Run, model: Artifact, record: Record) -> dict[str, Any]:
    """Where a merged model keeps what the trained model said, and, if that is gone, where that model lies."""
    reference = reference_of(model)
    trained = None if reference.is_dir() else locate_trained(workspace, run, model, record)
    return {"reference": str(reference.resolve()), "trained": trained}


def prove_model(attempt: Attempt) -> dict[str, Any]:
    """The merged model in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.proof.prove import prove_merged

    attempt.stage("proving that it is the model that was trained")
    found = prove_merged(
        attempt.out,
        attempt.artifact.path / REFERENCE,
        log=attempt.artifact.path / "log.txt",
        trained=trained_of(attempt.inputs["trained"]),
        report=attempt.out / REPORT,
        progress=_telling(attempt),
    )
    return summary(found)


def prove_4bit(attempt: Attempt) -> dict[str, Any]:
    """The merged model, rounded, in the attempt's `out`, which also gets the report. Raises CheckFailed."""
    from twinctl.proof.prove import prove_merged

    reference, log = _reference(attempt), attempt.artifact.path / "log.txt"
    attempt.stage("proving that it is the model that was trained")
    report = attempt.out / REPORT
    found = prove_merged(attempt.out, reference, "4bit", log=log, report=report, progress=_telling(attempt))
    return summary(found)


def prove_file(attempt: Attempt, file: Path, quant: str) -> dict[str, Any]:
    """A GGUF file, whose report comes to lie beside it. Raises CheckFailed."""
    from twinctl.proof.prove import prove_gguf

    reference, log = _reference(attempt), attempt.artifact.path / "log.txt"
    attempt.stage(f"proving {file.name}")
    report = file.with_name(f"{file.name}.{REPORT}")
    return summary(prove_gguf(file, quant, reference, log=log, report=report, progress=_telling(attempt)))


def _reference(attempt: Attempt) -> Path:
    """What the trained model said, which is asked now if the merged model has lost it."""
    from twinctl.proof.apart import make_reference

    reference = Path(attempt.inputs["reference"])
    if not reference.is_dir():
        attempt.stage("asking the trained model")
        reference, log = attempt.artifact.path / REFERENCE, attempt.artifact.path / "log.txt"
        make_reference(reference, trained_of(attempt.inputs["trained"]), log=log, progress=_telling(attempt))
    return reference


def prove_again(workspace: Workspace, run: Run, artifact: Artifact, record: Record) -> dict[str, Any]:
    """A finished merged model or GGUF file: every byte is what was written, and it is still what was trained.

    Raises UpstreamError or CheckFailed; the file stays where it is.
    """
    from twinctl.proof.apart import make_reference
    from twinctl.proof.prove import prove_gguf, prove_merged

    artifact.check(file_sha256, run.name)
    _, model, model_record = (
        ("", artifact, record) if record.produces == "model" else made_from(workspace, record, "model")
    )
    with tempfile.TemporaryDirectory(prefix="twinctl-proof-") as folder:
        log, reference = Path(folder, "log.txt"), reference_of(model)
        if not reference.is_dir():
            reference = Path(folder, REFERENCE)
            make_reference(reference, trained_of(locate_trained(workspace, run, model, model_record)), log=log)
        if record.produces != "gguf":
            return prove_merged(artifact.out, reference, record.recipe.get("precision", "16bit"), log=log)
        file = next(artifact.out.glob("*.gguf"))
        return prove_gguf(file, record.recipe["quant"], reference, log=log)


def trained_of(words: Mapping[str, Any]) -> Trained:
    """What `locate_trained` found, as the proof takes it."""
    from twinctl.proof.apart import Trained

    adapter = Path(words["adapter"]) if words["adapter"] else None
    return Trained(Path(words["base"]), adapter, Path(words["tokens"]), words["info"])


def reference_of(artifact: Artifact) -> Path:
    """Where a merged model's artifact keeps what the trained model said."""
    return artifact.path / REFERENCE


def is_proven(record: Record) -> bool:
    """Whether it is what was trained, or was proven to be when it was exported."""
    is_exported = record.recipe.keys() & {"precision", "quant"}
    return not is_exported or bool(record.metrics.get("proof"))


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report's figures for the record: KL in nats and share of equal most probable tokens, over so many positions."""
    found = report["checks"]["distributions"]
    return {name: found.get(name) for name in ("kl", "top1", "positions")}


def _telling(attempt: Attempt) -> Callable[[int, int], None]:
    """Progress as events, not more than one every few seconds."""
    said = [0.0]

    def tell(done: int, total: int) -> None:
        if time.monotonic() - said[0] >= EVERY_SECONDS:
            said[0] = time.monotonic()
            attempt.event("progress", checked=done, of=total)

    return tell
