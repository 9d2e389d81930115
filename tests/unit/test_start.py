"""Unsloth's import leaves Python's garbage collection as it should be, also when it fails."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinctl.engine import unsloth_import as module
from twinctl.errors import EngineError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "require_usable_gpu", lambda device: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    yield
    gc.unfreeze()


def test_what_was_imported_is_not_looked_through_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "unsloth", None)  # whatever is imported below is forgotten at the end
    del sys.modules["unsloth"]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unsloth.py").write_text("import gc; was_collecting = gc.isenabled()")
    before = gc.get_freeze_count()
    assert not module.start_unsloth().was_collecting and gc.isenabled()
    assert gc.get_freeze_count() > before
    monkeypatch.setattr(gc, "freeze", lambda: pytest.fail("a model that is there by now would never be freed"))
    module.start_unsloth()


def test_a_failed_import_leaves_collection_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unsloth", None)
    with pytest.raises(EngineError, match="Unsloth cannot start"):
        module.start_unsloth()
    assert gc.isenabled()
