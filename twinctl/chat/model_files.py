"""Which files make up the run's twin, its base, and a checkpoint of a training that goes on.

What must stay true: an adapter meets the very base that it was trained on, by digest, and the template and length of
the tokens it was trained on; a checkpoint is one only once it is sealed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.lineage import Found, find, made_from, need, tokens_info, trained
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def twin_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Where the twin's parts are, as engine.generation's `LocalModel.load` takes them.

    Template and length are those of the tokens it was trained on, which the run may have replaced since. Raises
    UpstreamError when nothing is trained or the adapter belongs to another base than the run's.
    """
    _, artifact, record = _trained(workspace, run)
    return {
        "adapter": artifact.out if record.produces == "adapter" else None,
        "model": artifact.out if record.produces == "model" else None,
        **_around(workspace, run, *made_from(workspace, record, "tokens")[1:], whole=_whole(artifact, record)),
    }


def base_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The same for the base alone, which needs no training."""
    return {"adapter": None, "model": None, **_around(workspace, run, *need(workspace, run, "tokens")[1:])}


def merged_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The same for the merged model. Raises UpstreamError when none is exported."""
    _, artifact, record = need(workspace, run, "model")
    around = _around(workspace, run, *made_from(workspace, record, "tokens")[1:], whole=artifact.out)
    return {"adapter": None, "model": artifact.out, **around}


def checkpoint_files(workspace: Workspace, run: Run, step: int) -> dict[str, Any]:
    """The same for a checkpoint of the run's training, which may still be going on.

    Raises UpstreamError when there is no such checkpoint (any more), saying which there are.
    """
    artifact = _training(workspace, run)
    there = steps_of(artifact) if artifact else []
    if artifact is None or step not in there:
        raise _no_checkpoint(run, step, artifact, there)
    request = artifact.request() or {}
    if request.get("inputs", {}).get("base") != base_of(run).digest:
        raise UpstreamError(
            f"the training of run “{run.name}” is on another base model than the run now has",
            f"train again: twinctl train --run {run.name}",
        )
    folder = artifact.work / "checkpoints" / f"checkpoint-{step}"
    is_adapter = (folder / "adapter_config.json").is_file()
    tokens = _tokens_of(workspace, run, str(request["inputs"].get("tokens")))
    return {
        "adapter": folder if is_adapter else None,
        "model": None if is_adapter else folder,
        **_around(workspace, run, *tokens[1:]),
    }


def gguf_files(workspace: Workspace, run: Run, wanted: str = "") -> list[Path]:
    """The run's exported GGUF files, the newest last; those that `wanted` names, by file or quantisation.

    Raises UpstreamError when none is, or one is damaged.
    """
    found: list[Path] = []
    for path in run.slots.values():
        artifact = workspace.artifact(path)
        record = artifact.record()
        if record is not None and record.produces == "gguf":
            files = [file for file in sorted(artifact.out.glob("*.gguf")) if _is_named(file, wanted)]
            if files:
                artifact.check(workspace.memo.sha256, run.name)
            found += files
    return found


def gguf_file(workspace: Workspace, run: Run, wanted: str) -> Path:
    """The one file that `--gguf` means: an existing path, an exported file's name or quantisation, or the newest."""
    if wanted and Path(wanted).is_file():
        return Path(wanted)
    if found := gguf_files(workspace, run, wanted):
        return found[-1]
    known = [path.name for path in gguf_files(workspace, run)]
    what = f"there is no GGUF file {wanted}" if wanted else f"run “{run.name}” has no GGUF file yet"
    raise UpstreamError(
        what + (f"; exported: {', '.join(known)}" if known else ""),
        f"export one: twinctl export --gguf --run {run.name}" if not known else "name one of them, or none",
    )


def template_of(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What a GGUF file is asked with: template and stop token of the run's twin, and the base's folder."""
    found = find(workspace, run, "gguf")
    record = made_from(workspace, found[2], "tokens") if found else need(workspace, run, "tokens")
    info = tokens_info(workspace, *record[1:])
    return {"template": info["template"], "eos": info["eos"], "base": base_of(run).folder(weights=False)}


def evidence_files(workspace: Workspace, run: Run, step: int | None = None) -> dict[str, Any]:
    """What a check compares to, as `Evidence.read` takes it: that of the twin, or of a checkpoint's training."""
    if step is not None:
        request = (artifact.request() if (artifact := _training(workspace, run)) else None) or {"inputs": {}}
        tokens = _tokens_of(workspace, run, str(request["inputs"].get("tokens")))
    else:
        found = next((each for kind in ("adapter", "model") if (each := find(workspace, run, kind))), None)
        tokens = made_from(workspace, found[2], "tokens") if found else need(workspace, run, "tokens")
    info = tokens_info(workspace, *tokens[1:])
    about = {"template": info["template"], "eos": info["eos"], "base": base_of(run).folder(weights=False)}
    return {"tokens": tokens[1].out, **about}


def steps_of(artifact: Artifact) -> list[int]:
    """The steps of the training's sealed checkpoints."""
    from twinctl.pipeline.checkpoints import MANIFEST, step_of

    return sorted(step_of(path.parent) for path in artifact.work.glob(f"checkpoints/checkpoint-*/{MANIFEST}"))


def _is_named(file: Path, wanted: str) -> bool:
    return not wanted or wanted in (file.name, file.stem) or file.stem.endswith(f"-{wanted}")


def _trained(workspace: Workspace, run: Run) -> Found:
    """`trained`; where nothing is, the error says what there is instead."""
    try:
        return trained(workspace, run)
    except UpstreamError as error:
        if any(_is_training(workspace.artifact(path).record()) for path in run.slots.values()):
            raise
        states = {slot: workspace.artifact(path).state() for slot, path in run.started.items()}
        there = ", ".join(f"{slot} is {state}" for slot, state in states.items()) or "nothing"
        artifact = _training(workspace, run)
        steps = steps_of(artifact) if artifact else []
        mend = error.hint
        if steps:
            mend = f"ask what it is at step {steps[-1]}: twinctl chat --checkpoint {steps[-1]} --run {run.name}"
        elif "running" in states.values():
            mend = f"watch it: twinctl logs train --follow --run {run.name}"
        raise UpstreamError(f"run “{run.name}” has no trained model yet: {there}", mend) from error


def _is_training(record: Record | None) -> bool:
    return record is not None and (
        record.produces == "adapter" or (record.produces == "model" and "adapter" not in record.parents)
    )


def _training(workspace: Workspace, run: Run) -> Artifact | None:
    """The training that the run began last."""
    path = run.started.get("train")
    return workspace.artifact(path) if path else None


def _no_checkpoint(run: Run, step: int, artifact: Artifact | None, there: list[int]) -> UpstreamError:
    if artifact is not None and artifact.record() is not None:
        return UpstreamError(
            f"the training of run “{run.name}” is finished, and its checkpoints are gone", "leave out --checkpoint"
        )
    if not there:
        return UpstreamError(
            f"run “{run.name}” has no checkpoint yet", f"twinctl train --run {run.name}, or wait for its first one"
        )
    known = ", ".join(map(str, there))
    return UpstreamError(
        f"run “{run.name}” has no checkpoint of step {step}; there are: {known} (older ones are removed as it goes on)",
        f"twinctl chat --checkpoint {there[-1]} --run {run.name}",
    )


def _tokens_of(workspace: Workspace, run: Run, digest: str) -> Found:
    """The tokens of that digest; the run's own, if they are those."""
    own = find(workspace, run, "tokens")
    if own is not None and own[2].digest == digest:
        return own
    for path in sorted(Path(workspace.root, "artifacts").glob("*/*/record.json")):
        artifact = Artifact(path.parent)
        record = artifact.record()
        if record is not None and record.produces == "tokens" and record.digest == digest:
            return workspace.relative(artifact), artifact, record
    raise UpstreamError(f"the tokens that run “{run.name}” trains on are gone", f"twinctl prepare --run {run.name}")


def _whole(artifact: Artifact, record: Record) -> Path | None:
    return artifact.out if record.produces == "model" else None


def _around(
    workspace: Workspace, run: Run, tokens: Artifact, record: Record, whole: Path | None = None
) -> dict[str, Any]:
    """What surrounds every voice of a run: its base, checked, the tokens' template and length, and where to log.

    A `whole` model needs no base, which may not be on this machine.
    """
    base = base_of(run)
    if whole is None:
        base.check(workspace.memo, run.name)
    return {
        "base": whole or base.folder(weights=True),
        **tokens_info(workspace, tokens, record),
        "log": Path(workspace.root, "chat.log").resolve(),
    }
