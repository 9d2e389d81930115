"""Which files make up the run's twin, its base, and a checkpoint of a training that goes on.

What must stay true: an adapter meets the very base that it was trained on, by digest, and the template and length of
the tokens it was trained on; a checkpoint is one only once it is sealed.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.pipeline.kind import Kind, is_trained
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Artifact


def twin_files(view: RunView) -> dict[str, Any]:
    """Where the twin's parts are, as engine.generation's `LocalModel.load` takes them.

    Template and length are those of the tokens it was trained on, which the run may have replaced since. Raises
    UpstreamError when nothing is trained or the adapter belongs to another base than the run's.
    """
    trained = _trained(view)
    adapter, whole = (trained.out, None) if trained.kind == Kind.ADAPTER else (None, trained.out)
    return {"adapter": adapter, "model": whole, **_around(view, trained.made_from(Kind.TOKENS), whole)}


def base_files(view: RunView) -> dict[str, Any]:
    """Where the base's parts are, as `LocalModel.load` takes them; it needs no training."""
    return {"adapter": None, "model": None, **_around(view, view.need(Kind.TOKENS))}


def merged_files(view: RunView) -> dict[str, Any]:
    """Where the merged model is, as `LocalModel.load` takes it. Raises UpstreamError when none is exported."""
    model = view.need(Kind.MODEL)
    return {"adapter": None, "model": model.out, **_around(view, model.made_from(Kind.TOKENS), model.out)}


def checkpoint_files(view: RunView, step: int) -> dict[str, Any]:
    """Where a checkpoint's parts are, as `LocalModel.load` takes them; the run's training may still be going on.

    Raises UpstreamError when there is no such checkpoint (any more), saying which there are.
    """
    artifact = _training(view)
    there = steps_of(artifact) if artifact else []
    if artifact is None or step not in there:
        raise _no_checkpoint(view.name, step, artifact, there)
    request = artifact.request() or {}
    view.require_base(request.get("inputs", {}).get("base"))
    folder = artifact.work / "checkpoints" / f"checkpoint-{step}"
    is_adapter = (folder / "adapter_config.json").is_file()
    adapter, whole = (folder, None) if is_adapter else (None, folder)
    tokens = _tokens_of(view, str(request["inputs"].get("tokens")))
    return {"adapter": adapter, "model": whole, **_around(view, tokens)}


def gguf_files(view: RunView, wanted: str = "") -> list[Path]:
    """The run's exported GGUF files, the newest last; those that `wanted` names, by file or quantisation.

    Raises UpstreamError when none is, or one is damaged.
    """
    found: list[Path] = []
    for result in view.results():
        if result.kind == Kind.GGUF:
            files = [file for file in sorted(result.out.glob("*.gguf")) if _is_named(file, wanted)]
            if files:
                result.artifact.check(view.memo.sha256, view.name)
            found += files
    return found


def gguf_file(view: RunView, wanted: str) -> Path:
    """The one file that `--gguf` means: an existing path, an exported file's name or quantisation, or the newest."""
    if wanted and Path(wanted).is_file():
        return Path(wanted)
    if found := gguf_files(view, wanted):
        return found[-1]
    known = [path.name for path in gguf_files(view)]
    what = f"there is no GGUF file {wanted}" if wanted else f"run “{view.name}” has no GGUF file yet"
    raise UpstreamError(
        what + (f"; exported: {', '.join(known)}" if known else ""),
        f"export one: twinctl export --gguf --run {view.name}" if not known else "name one of them, or none",
    )


def template_of(view: RunView) -> dict[str, Any]:
    """What a GGUF file is asked with: template and stop token of the run's twin, and the base's folder."""
    file = view.find(Kind.GGUF)
    return _asked_with(view, file.made_from(Kind.TOKENS) if file else view.need(Kind.TOKENS))


def evidence_files(view: RunView, step: int | None = None) -> dict[str, Any]:
    """What a check compares to, as `Evidence.read` takes it: that of the twin, or of a checkpoint's training."""
    if step is not None:
        request = (artifact.request() if (artifact := _training(view)) else None) or {"inputs": {}}
        tokens = _tokens_of(view, str(request["inputs"].get("tokens")))
    else:
        twin = view.find(Kind.ADAPTER) or view.find(Kind.MODEL)
        tokens = twin.made_from(Kind.TOKENS) if twin else view.need(Kind.TOKENS)
    return {"tokens": tokens.out, **_asked_with(view, tokens)}


def _asked_with(view: RunView, tokens: Result) -> dict[str, Any]:
    """Template and stop token of tokens, and the folder of the base's tokenizer."""
    info = tokens.tokens_info()
    return {"template": info.template, "eos": info.eos, "base": view.base.folder(weights=False)}


def steps_of(artifact: Artifact) -> list[int]:
    """The steps of the training's sealed checkpoints."""
    from twinctl.pipeline.checkpoints import MANIFEST, step_of

    return sorted(step_of(path.parent) for path in artifact.work.glob(f"checkpoints/checkpoint-*/{MANIFEST}"))


def _is_named(file: Path, wanted: str) -> bool:
    return not wanted or wanted in (file.name, file.stem) or file.stem.endswith(f"-{wanted}")


def _trained(view: RunView) -> Result:
    """What was trained; where nothing is, the error says what there is instead."""
    try:
        return view.trained()
    except UpstreamError as error:
        if any(is_trained(result.record) for result in view.results()):
            raise
        states = {slot: view.workspace.artifact(path).state() for slot, path in view.run.started.items()}
        there = ", ".join(f"{slot} is {state}" for slot, state in states.items()) or "nothing"
        artifact = _training(view)
        steps = steps_of(artifact) if artifact else []
        mend = error.hint
        if steps:
            mend = f"ask what it is at step {steps[-1]}: twinctl chat --checkpoint {steps[-1]} --run {view.name}"
        elif "running" in states.values():
            mend = f"watch it: twinctl logs train --follow --run {view.name}"
        raise UpstreamError(f"run “{view.name}” has no trained model yet: {there}", mend) from error


def _training(view: RunView) -> Artifact | None:
    """The training that the run began last."""
    path = view.run.started.get("train")
    return view.workspace.artifact(path) if path else None


def _no_checkpoint(run: str, step: int, artifact: Artifact | None, there: list[int]) -> UpstreamError:
    if artifact is not None and artifact.record() is not None:
        return UpstreamError(
            f"the training of run “{run}” is finished, and its checkpoints are gone", "leave out --checkpoint"
        )
    if not there:
        return UpstreamError(
            f"run “{run}” has no checkpoint yet", f"twinctl train --run {run}, or wait for its first one"
        )
    known = ", ".join(map(str, there))
    return UpstreamError(
        f"run “{run}” has no checkpoint of step {step}; there are: {known} (older ones are removed as it goes on)",
        f"twinctl chat --checkpoint {there[-1]} --run {run}",
    )


def _tokens_of(view: RunView, digest: str) -> Result:
    """The tokens of that digest; the run's own, if they are those."""
    own = view.find(Kind.TOKENS)
    if own is not None and own.digest == digest:
        return own
    for path in sorted(Path(view.workspace.root, "artifacts").glob("*/*/record.json")):
        result = Result.of(Artifact(path.parent))
        if result is not None and result.kind == Kind.TOKENS and result.digest == digest:
            return result
    raise UpstreamError(f"the tokens that run “{view.name}” trains on are gone", f"twinctl prepare --run {view.name}")


def _around(view: RunView, tokens: Result, whole: Path | None = None) -> dict[str, Any]:
    """What surrounds every voice of a run: its base, checked, the tokens' template and length, and where to log.

    A `whole` model needs no base, which may not be on this machine.
    """
    if whole is None:
        view.base.check(view.memo, view.name)
    return {
        "base": whole or view.base.folder(weights=True),
        **asdict(tokens.tokens_info()),
        "log": Path(view.workspace.root, "chat.log").resolve(),
    }
