"""Which speakers a command means, found and checked before anything is loaded.

What must stay true: base and twin come from one set of weights wherever that can be; what is loaded from a checkpoint
is a copy that was checked against its seal, so that training may remove it meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twinctl.chat.model_files import (
    base_files,
    checkpoint_files,
    gguf_file,
    gguf_files,
    merged_files,
    template_of,
    twin_files,
)
from twinctl.errors import UpstreamError
from twinctl.inference.chat_model import ChatModel
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
        """The same, with the base beside the twin where one set of weights holds both."""
        return replace(self, base_if_free=self.twin)

    @property
    def twin(self) -> bool:
        """Whether the adapter (or the model that a full training made) is among them."""
        others = self.base or self.merged or self.gguf is not None
        return self.compare or self.all or self.checkpoint is not None or not others


@dataclass(frozen=True)
class ModelGroup:
    """Speakers that come from one set of weights: loaded together, and closed together."""

    names: tuple[str, ...]
    load: Callable[[], list[ChatModel]]


def select_models(view: RunView, wanted: ModelSelection) -> list[ModelGroup]:
    """The wanted speakers. Raises UpstreamError when one is not there or damaged, before any is loaded."""
    found: list[ModelGroup] = []
    with_base = wanted.base or wanted.compare or wanted.all
    if wanted.twin:
        found += _twin(view, wanted, with_base)
    elif with_base:
        found.append(_local("base", base_files(view), wanted))
    if wanted.merged or (wanted.all and _is_merged(view)):
        found.append(_local("merged", merged_files(view), wanted))
    if wanted.gguf is not None:
        found.append(_gguf(gguf_file(view, wanted.gguf), template_of(view)))
    elif wanted.all:
        found += [_gguf(path, template_of(view)) for path in gguf_files(view)]
    return found


def _twin(view: RunView, wanted: ModelSelection, with_base: bool) -> list[ModelGroup]:
    step = wanted.checkpoint
    name = view.name if step is None else f"checkpoint-{step}"
    files = twin_files(view) if step is None else checkpoint_files(view, step)
    is_whole = files["adapter"] is None  # and has no base within
    if not with_base and (is_whole or not wanted.base_if_free):
        return [_local(name, files, wanted)]
    if is_whole:
        return [_local("base", base_files(view), wanted), _local(name, files, wanted)]
    return [_local(name, files, wanted, with_base=True)]


def _local(name: str, files: dict[str, Any], wanted: ModelSelection, *, with_base: bool = False) -> ModelGroup:
    """A voice of this process; base first, as one reads them."""

    def load() -> list[ChatModel]:
        from twinctl.engine.generation import LocalModel

        with _held(files) as kept:
            speaker = LocalModel.load(**kept, name=name, four_bit=wanted.four_bit)
        return [speaker.as_base(), speaker] if with_base else [speaker]

    return ModelGroup(("base", name) if with_base else (name,), load)


def _gguf(path: Path, how: dict[str, Any]) -> ModelGroup:
    def load() -> list[ChatModel]:
        from twinctl.gguf.chat_model import GgufChatModel

        return [GgufChatModel.load(path, **how)]

    return ModelGroup((path.name,), load)


@contextmanager
def _held(files: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The files; a checkpoint's adapter is copied first, and checked, since training removes old checkpoints."""
    from twinctl.pipeline.checkpoints import MANIFEST

    adapter = files["adapter"]
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
        yield {**files, "adapter": Path(name)}


def _copy(checkpoint: Path, target: Path) -> None:
    """What a model is loaded from, without the optimizer. Raises UpstreamError for a file that is not as sealed."""
    from twinctl.pipeline.checkpoints import MANIFEST

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


def _is_merged(view: RunView) -> bool:
    model = view.find(Kind.MODEL)
    return model is not None and is_merged(model.record)
