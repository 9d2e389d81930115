"""A full disk is one error, exit code 3, wherever it is noticed: before the work, in it, or after a library failed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from twinctl.bundled import BASE
from twinctl.errors import ConfigError, explained
from twinctl.gguf.writer import write_gguf
from twinctl.hub.failures import Target, hub_errors
from twinctl.hub.fetch import fetch
from twinctl.phases.export_dir import export_files
from twinctl.phases.merge import require_merge_room
from twinctl.workspace.disk import free_bytes, full_disk, require_room

NUMBERS = (errno.ENOSPC, errno.EDQUOT)


def _merge(folder: Path) -> None:
    require_merge_room(folder, BASE)


def _gguf(folder: Path) -> None:
    write_gguf(BASE, folder / "m.gguf", "f16", name="x")


def _pull(folder: Path) -> None:
    fetch("me/x", "0" * 40, {"a": (10, "0")}, folder, say=print, progress=lambda done, total: None)


def _export(folder: Path) -> None:
    export_files([BASE / "config.json"], folder / "out")


def _any_other(folder: Path) -> None:
    require_room(folder, 1, "the file")


PLACES: list[Callable[[Path], None]] = [_merge, _gguf, _pull, _export, _any_other]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_before_the_work(place: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(ConfigError, match=r" has 0\.0 MiB free, and .* needs \d") as caught:
        place(tmp_path)
    assert caught.value.exit_code == 3
    assert caught.value.hint.startswith("free space there")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("number", NUMBERS)
def test_in_the_work(number: int) -> None:
    told = explained(OSError(number, "No space left on device"))
    assert isinstance(told, ConfigError) and told.hint.startswith("free space there")


@pytest.mark.parametrize("number", NUMBERS)
def test_while_a_model_is_downloaded(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    with (
        pytest.raises(ConfigError, match="Cannot write the download of me/x") as caught,
        hub_errors(Target("model", "me/x")),
    ):
        raise OSError(number, "No space left on device")
    assert "HF_HOME" in caught.value.hint


@pytest.mark.parametrize("free", [0, 2**20 - 1])
def test_after_a_library_failed(free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disk(tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert isinstance(full_disk(tmp_path), ConfigError)


def test_room_is_measured_where_the_folder_would_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: asked.append(folder) or SimpleNamespace(free=5))
    require_room(tmp_path / "to" / "come", 5, "the file")
    assert free_bytes(tmp_path) == 5
    assert asked == [tmp_path, tmp_path]
