"""The phases. A new one is a file of its own and one line in `TABLE`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinctl.pipeline.phase import AnyPhase

TABLE = {
    "prepare": "twinctl.phases.prepare",
    "train": "twinctl.phases.train",
    "merge": "twinctl.phases.merge",
    "merge-4bit": "twinctl.phases.merge_4bit",
    "gguf": "twinctl.phases.gguf",
    "push": "twinctl.phases.push",
}


def phase(name: str) -> AnyPhase:
    """The phase's declaration: the `PHASE` of its module."""
    declaration: AnyPhase = import_module(TABLE[name]).PHASE
    return declaration


def declared(name: str) -> AnyPhase | None:
    """A phase's declaration; None for one that this version does not know: another twinctl may have made its result."""
    return phase(name) if name in TABLE else None
