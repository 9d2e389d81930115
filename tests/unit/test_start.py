"""Unsloth's import leaves Python's garbage collection as it should be, also when it fails."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from twinctl.engine import start as module
from twinctl.errors import EngineError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "require_usable_gpu", lambda device: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    yield
    gc.unfreeze()


def test_what_was_imported_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = ModuleType("unsloth")
    monkeypatch.setitem(sys.modules, "unsloth", fake)
    before = gc.get_freeze_count()
    assert module.start() is fake
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


def test_a_failed_import_leaves_collection_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unsloth", None)
    with pytest.raises(EngineError, match="Unsloth cannot start"):
        module.start()
    assert gc.isenabled()
