"""Which files make up the run's twin, its base, and a checkpoint of an unfinished training.

What must stay true: an adapter meets the very base that it was trained on, by digest, and the template and length of
the tokens it was trained on; a checkpoint counts only once its manifest is written.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from twinctl.errors import UpstreamError
from twinctl.inference.chat_model import ModelFiles, PromptFormat
from twinctl.pipeline.kind import Kind, is_trained
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Artifact


def twin_files(view: RunView) -> ModelFiles:
    """The files of the twin.

    Template and length are those of the tokens it was trained on, which the run may have replaced since. Raises
    UpstreamError if nothing is trained or the adapter belongs to another base than the run's.
    """
    trained = _trained(view)
    return _files(view, trained.made_from(Kind.TOKENS), trained.out, is_adapter=trained.kind == Kind.ADAPTER)


def base_files(view: RunView) -> ModelFiles:
    """The files of the base, which needs no training."""
    return _files(view, view.need(Kind.TOKENS))


def merged_files(view: RunView) -> ModelFiles:
    """The files of the merged model. Raises UpstreamError if none is exported."""
    model = view.need(Kind.MODEL)
    return _files(view, model.made_from(Kind.TOKENS), model.out)


def checkpoint_files(view: RunView, step: int) -> ModelFiles:
    """The files of a checkpoint of the run's training, which may be unfinished.

    Raises UpstreamError if there is no such checkpoint (any more), saying which there are.
    """
    artifact = _training(view)
    steps = checkpoint_steps(artifact) if artifact else []
    if artifact is None or step not in steps:
        raise _no_checkpoint(view.name, step, artifact, steps)
    inputs = (artifact.request() or {}).get("inputs", {})
    view.require_base(inputs.get("base"))
    folder = artifact.work / "checkpoints" / f"checkpoint-{step}"
    tokens = _tokens_of(view, str(inputs.get("tokens")))
    return _files(view, tokens, folder, is_adapter=(folder / "adapter_config.json").is_file())


def gguf_files(view: RunView, wanted: str = "") -> list[Path]:
    """The run's exported GGUF files, the newest last; those that `wanted` names, by file or quantisation.

    Raises UpstreamError when none is, or one is damaged.
    """

    def is_wanted(file: Path) -> bool:
        return not wanted or wanted in (file.name, file.stem) or file.stem.endswith(f"-{wanted}")

    files: list[Path] = []
    for result in view.results():
        if result.kind == Kind.GGUF and (wanted_files := list(filter(is_wanted, sorted(result.out.glob("*.gguf"))))):
            result.artifact.check(view.memo.sha256, view.name)
            files += wanted_files
    return files


def gguf_file(view: RunView, wanted: str) -> Path:
    """The one file that `--gguf` means: an existing path, an exported file's name or quantisation, or the newest."""
    if wanted and Path(wanted).is_file():
        return Path(wanted)
    if files := gguf_files(view, wanted):
        return files[-1]
    known = [path.name for path in gguf_files(view)]
    what = f"there is no GGUF file {wanted}" if wanted else f"run “{view.name}” has no GGUF file yet"
    raise UpstreamError(
        what + (f"; exported: {', '.join(known)}" if known else ""),
        f"export one: twinctl export --gguf --run {view.name}" if not known else "name one of them, or none",
    )


def gguf_format(view: RunView) -> PromptFormat:
    """How the run's GGUF files are asked: as the twin that they were made from."""
    file = view.find(Kind.GGUF)
    return _prompt_format(view, file.made_from(Kind.TOKENS) if file else view.need(Kind.TOKENS))


def evidence_files(view: RunView, step: int | None = None) -> tuple[Path, PromptFormat]:
    """What `Evidence.read` reads: the tokens folder of the twin, or of a checkpoint's training, and how it is asked."""
    if step is None:
        tokens = tokens_of_twin(view)
    else:
        request = (artifact.request() if (artifact := _training(view)) else None) or {"inputs": {}}
        tokens = _tokens_of(view, str(request["inputs"].get("tokens")))
    return tokens.out, _prompt_format(view, tokens)


def tokens_of_twin(view: RunView) -> Result:
    """The tokens that the twin was trained on; those of the run if nothing is trained."""
    twin = view.find(Kind.ADAPTER) or view.find(Kind.MODEL)
    return twin.made_from(Kind.TOKENS) if twin else view.need(Kind.TOKENS)


def _prompt_format(view: RunView, tokens: Result) -> PromptFormat:
    info = tokens.tokens_info()
    return PromptFormat(info.template, info.eos, view.base.folder(weights=False))


def checkpoint_steps(artifact: Artifact) -> list[int]:
    """The steps of the training's complete checkpoints."""
    from twinctl.pipeline.checkpoints import MANIFEST, step_of

    return sorted(step_of(path.parent) for path in artifact.work.glob(f"checkpoints/checkpoint-*/{MANIFEST}"))


def _trained(view: RunView) -> Result:
    """What was trained; if nothing is, the error says what there is instead."""
    try:
        return view.trained()
    except UpstreamError as error:
        if any(is_trained(result.record) for result in view.results()):
            raise
        states = {slot: view.workspace.artifact(path).state() for slot, path in view.run.started.items()}
        there = ", ".join(f"{slot} is {state}" for slot, state in states.items()) or "nothing"
        artifact = _training(view)
        steps = checkpoint_steps(artifact) if artifact else []
        hint = error.hint
        if steps:
            hint = f"ask what it is at step {steps[-1]}: twinctl chat --checkpoint {steps[-1]} --run {view.name}"
        elif "running" in states.values():
            hint = f"watch it: twinctl logs train --follow --run {view.name}"
        raise UpstreamError(f"run “{view.name}” has no trained model yet: {there}", hint) from error


def _training(view: RunView) -> Artifact | None:
    """The training that the run began last."""
    path = view.run.started.get("train")
    return view.workspace.artifact(path) if path else None


def _no_checkpoint(run: str, step: int, artifact: Artifact | None, steps: list[int]) -> UpstreamError:
    if artifact is not None and artifact.record() is not None:
        return UpstreamError(
            f"the training of run “{run}” is finished, and its checkpoints are gone", "leave out --checkpoint"
        )
    if not steps:
        return UpstreamError(
            f"run “{run}” has no checkpoint yet", f"twinctl train --run {run}, or wait for its first one"
        )
    known = ", ".join(map(str, steps))
    return UpstreamError(
        f"run “{run}” has no checkpoint of step {step}; there are: {known} (older ones are removed as it goes on)",
        f"twinctl chat --checkpoint {steps[-1]} --run {run}",
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


def _files(view: RunView, tokens: Result, folder: Path | None = None, *, is_adapter: bool = False) -> ModelFiles:
    """The files of a model trained on these tokens: an adapter's or a whole model's in `folder`, else the base's.

    A whole model needs no base, which may not be on this machine.
    """
    whole = None if is_adapter else folder
    if whole is None:
        view.base.check(view.memo, view.name)
    return ModelFiles(
        base=whole or view.base.folder(weights=True),
        adapter=folder if is_adapter else None,
        model=whole,
        log=Path(view.workspace.root, "chat.log").resolve(),
        **asdict(tokens.tokens_info()),
    )
