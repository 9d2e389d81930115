"""The phases. A new one is a file of its own and one line in `TABLE`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twinctl.phases.base import Phase

TABLE = {
    "prepare": "twinctl.phases.prepare",
    "train": "twinctl.phases.train",
    "merge": "twinctl.phases.merge",
    "merge-4bit": "twinctl.phases.merge_4bit",
    "gguf": "twinctl.phases.gguf",
    "push": "twinctl.phases.push",
}


def phase(name: str) -> Phase:
    """The phase's declaration: the `PHASE` of its module."""
    found: Phase = import_module(TABLE[name]).PHASE
    return found


def makers() -> dict[str, str]:
    """Every kind of result and the command that makes it: tokens, adapter, model, model-4bit, gguf."""
    declared = [phase(name) for name in TABLE]
    first = {kind: each.command for each in reversed(declared) for kind in each.makes[:1]}
    return {kind: each.command for each in declared for kind in each.makes} | first
