"""Which models a command means, found and checked before anything is loaded.

What must stay true: base and twin come from one set of weights wherever that can be; what is loaded from a checkpoint
is a copy that was checked against its manifest, so that training may remove it meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from twinctl.chat.model_files import (
    base_files,
    checkpoint_files,
    gguf_file,
    gguf_files,
    gguf_format,
    merged_files,
    twin_files,
)
from twinctl.errors import UpstreamError
from twinctl.inference.chat_model import ChatModel, ModelFiles, PromptFormat
from twinctl.pipeline.checkpoints import MANIFEST
from twinctl.pipeline.kind import Kind, is_merged
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.files import read_json
from twinctl.workspace.memo import file_sha256


@dataclass(frozen=True)
class ModelSelection:
    """What a command asks for; nothing: the twin. `gguf`: "" is the newest file. `all`: whatever there is."""

    base: bool = False
    compare: bool = False
    merged: bool = False
    gguf: str | None = None
    checkpoint: int | None = None
    all: bool = False
    four_bit: bool = False
    base_if_free: bool = False

    @property
    def with_base_if_free(self) -> ModelSelection:
        """This selection, with the base in addition to the twin if one set of weights holds both."""
        return replace(self, base_if_free=self.twin)

    @property
    def twin(self) -> bool:
        """Whether the adapter (or the model that a full training made) is among them."""
        others = self.base or self.merged or self.gguf is not None
        return self.compare or self.all or self.checkpoint is not None or not others


@dataclass(frozen=True)
class ModelGroup:
    """Models from one set of weights, or one model alone: loaded together, and closed together."""

    names: tuple[str, ...]
    load: Callable[[], list[ChatModel]]


def select_models(view: RunView, wanted: ModelSelection) -> list[ModelGroup]:
    """The wanted models. Raises UpstreamError if one does not exist or is damaged, before any is loaded."""
    groups: list[ModelGroup] = []
    with_base = wanted.base or wanted.compare or wanted.all
    if wanted.twin:
        groups += _twin(view, wanted, with_base)
    elif with_base:
        groups.append(_local("base", base_files(view), wanted))
    model = view.find(Kind.MODEL) if wanted.all else None
    if wanted.merged or (model is not None and is_merged(model.record)):
        groups.append(_local("merged", merged_files(view), wanted))
    if wanted.gguf is not None:
        groups.append(_gguf(gguf_file(view, wanted.gguf), gguf_format(view)))
    elif wanted.all:
        groups += [_gguf(path, gguf_format(view)) for path in gguf_files(view)]
    return groups


def _twin(view: RunView, wanted: ModelSelection, with_base: bool) -> list[ModelGroup]:
    step = wanted.checkpoint
    name = view.name if step is None else f"checkpoint-{step}"
    files = twin_files(view) if step is None else checkpoint_files(view, step)
    if files.adapter is not None:
        return [_local(name, files, wanted, with_base=with_base or wanted.base_if_free)]
    base = [_local("base", base_files(view), wanted)] if with_base else []
    return [*base, _local(name, files, wanted)]


def _local(name: str, files: ModelFiles, wanted: ModelSelection, *, with_base: bool = False) -> ModelGroup:
    """A model in this process; its base comes before it."""

    def load() -> list[ChatModel]:
        from twinctl.engine.generation import LocalModel

        with _kept_by_training(files) as kept:
            model = LocalModel.load(kept, name, four_bit=wanted.four_bit)
        return [model.as_base(), model] if with_base else [model]

    return ModelGroup(("base", name) if with_base else (name,), load)


def _gguf(path: Path, prompt_format: PromptFormat) -> ModelGroup:
    def load() -> list[ChatModel]:
        from twinctl.gguf.chat_model import GgufChatModel

        return [GgufChatModel.load(path, prompt_format)]

    return ModelGroup((path.name,), load)


@contextmanager
def _kept_by_training(files: ModelFiles) -> Iterator[ModelFiles]:
    """The files; a checkpoint's adapter is copied first, and checked, since training removes old checkpoints."""
    adapter = files.adapter
    if adapter is None or not (adapter / MANIFEST).is_file():
        if adapter is not None and not adapter.is_dir():
            raise _gone(adapter)
        yield files
        return
    with tempfile.TemporaryDirectory(prefix="twinctl-checkpoint-") as name:
        try:
            _copy(adapter, Path(name))
        except FileNotFoundError as error:
            raise _gone(adapter) from error
        yield replace(files, adapter=Path(name))


def _copy(checkpoint: Path, target: Path) -> None:
    """Copy what a model is loaded from. Raises UpstreamError for a file that differs from the manifest."""
    for entry in read_json(checkpoint / MANIFEST)["files"]:
        path = checkpoint / entry["name"]
        if path.parent != checkpoint or path.suffix not in (".json", ".safetensors", ".jinja"):
            continue
        shutil.copyfile(path, target / path.name)
        if file_sha256(target / path.name) != entry["sha256"]:
            raise UpstreamError(f"{path} is not the file that was written", "take another checkpoint")


def _gone(checkpoint: Path) -> UpstreamError:
    return UpstreamError(
        f"{checkpoint.name} was removed meanwhile: training keeps the newest ones only",
        "take a newer one; to see which there are: twinctl chat --checkpoint 0",
    )
