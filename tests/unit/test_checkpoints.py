"""A checkpoint is gone on from only when it is sealed and every file is what it was then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twinctl.pipeline.checkpoints import MANIFEST, is_complete, last_complete, step_of, write_manifest


def _checkpoint(folder: Path, step: int, *, sealed: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "below").mkdir(parents=True)
    (path / "model.bin").write_bytes(b"weights of %d" % step)
    (path / "optimizer.pt").write_bytes(b"moments of %d" % step)
    (path / "below" / "state.json").write_text("{}")
    if sealed:
        write_manifest(path)
    return path


def _change(path: Path) -> None:
    data = bytearray((path / "optimizer.pt").read_bytes())
    data[3] ^= 1
    (path / "optimizer.pt").write_bytes(bytes(data))


def _cut(path: Path) -> None:
    (path / "model.bin").write_bytes(b"wei")


def _remove(path: Path) -> None:
    (path / "below" / "state.json").unlink()


def _tear_manifest(path: Path) -> None:
    (path / MANIFEST).write_text((path / MANIFEST).read_text()[:40])


def _other_manifest(path: Path) -> None:
    (path / MANIFEST).write_text("[]")


DAMAGE = [_change, _cut, _remove, _tear_manifest, _other_manifest]


def test_a_sealed_checkpoint_is_whole(tmp_path: Path) -> None:
    assert is_complete(_checkpoint(tmp_path, 1))


def test_an_unsealed_checkpoint_is_not_whole(tmp_path: Path) -> None:
    assert not is_complete(_checkpoint(tmp_path, 1, sealed=False))


def test_a_checkpoint_that_is_sealed_twice_is_whole(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path, 1)
    (path / "model.bin").write_bytes(b"written again")
    write_manifest(path)
    assert is_complete(path)


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_after_the_seal_is_noticed(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = _checkpoint(tmp_path, 1)
    damage(path)
    assert not is_complete(path)


def test_the_newest_is_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (9, 10, 100, 20):
        _checkpoint(tmp_path, step)
    last = last_complete(tmp_path)
    assert last is not None
    assert step_of(last) == 100


def test_torn_ones_are_skipped_and_removed_and_older_ones_stay(tmp_path: Path) -> None:
    for step in (10, 20):
        _checkpoint(tmp_path, step)
    _change(_checkpoint(tmp_path, 30))
    _checkpoint(tmp_path, 40, sealed=False)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-20"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-20"]


def test_without_a_whole_one_there_is_none(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "nowhere") is None
    _checkpoint(tmp_path, 10, sealed=False)
    assert last_complete(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
