"""The memo of digests saves reading; it never vouches for what could have changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from twinctl.errors import UpstreamError
from twinctl.workspace import memo as memo_module
from twinctl.workspace.memo import DigestMemo


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read for its digest."""
    seen: list[Path] = []
    read: Callable[[Path], str] = memo_module.file_sha256
    monkeypatch.setattr(memo_module, "file_sha256", lambda path: (seen.append(path), read(path))[1])
    return seen


def _write(path: Path, content: bytes, *, seconds_ago: float) -> None:
    path.write_bytes(content)
    at = time.time_ns() - int(seconds_ago * 1e9)
    os.utime(path, ns=(at, at))


def test_an_unchanged_old_file_is_read_once_ever(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "weights"
    _write(file, b"abc", seconds_ago=60)
    digests = {DigestMemo(tmp_path / "digests.json").sha256(file) for _ in range(3)}
    assert digests == {hashlib.sha256(b"abc").hexdigest()}
    assert len(reads) == 1


def test_a_file_written_just_now_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    """Within the clock's grain of the reading it could change once more unseen."""
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    _write(file, b"abc", seconds_ago=0)
    stat = file.stat()
    before = memo.sha256(file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time, same inode
    assert memo.sha256(file) != before
    assert len(reads) == 2


def test_a_file_from_the_future_is_not_remembered(tmp_path: Path, reads: list[Path]) -> None:
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    _write(file, b"abc", seconds_ago=-3600)
    memo.sha256(file)
    memo.sha256(file)
    assert len(reads) == 2


def test_a_change_of_size_time_or_inode_is_seen(tmp_path: Path, reads: list[Path]) -> None:
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    _write(file, b"abc", seconds_ago=60)
    memo.sha256(file)
    _write(file, b"abcd", seconds_ago=60)
    assert memo.sha256(file) == hashlib.sha256(b"abcd").hexdigest()
    _write(file, b"abce", seconds_ago=50)
    assert memo.sha256(file) == hashlib.sha256(b"abce").hexdigest()
    stat = file.stat()
    other = tmp_path / "other"
    other.write_bytes(b"abcf")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)
    assert memo.sha256(file) == hashlib.sha256(b"abcf").hexdigest()
    assert len(reads) == 4


def test_a_link_is_known_by_what_it_leads_to(tmp_path: Path, reads: list[Path]) -> None:
    """As in the Hub's cache, where names are links to blobs."""
    _write(tmp_path / "blob", b"abc", seconds_ago=60)
    memo = DigestMemo(tmp_path / "digests.json")
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tmp_path / "blob")
        memo.sha256(tmp_path / name)
    assert len(reads) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"digests": {"x": 3}}', '{"digests": []}', "null"])
def test_a_damaged_memo_only_forgets(tmp_path: Path, content: str) -> None:
    (tmp_path / "digests.json").write_text(content)
    file = tmp_path / "x"
    _write(file, b"abc", seconds_ago=60)
    assert DigestMemo(tmp_path / "digests.json").sha256(file) == hashlib.sha256(b"abc").hexdigest()


def test_a_memo_that_cannot_be_saved_only_forgets(tmp_path: Path) -> None:
    file = tmp_path / "x"
    _write(file, b"abc", seconds_ago=60)
    assert DigestMemo(tmp_path / "nowhere" / "digests.json").sha256(file) == hashlib.sha256(b"abc").hexdigest()
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    _write(file, b"abc", seconds_ago=60)
    read = memo_module.file_sha256

    def disturbed(path: Path) -> str:
        digest = read(path)
        path.write_bytes(b"abcdef")
        return digest

    monkeypatch.setattr(memo_module, "file_sha256", disturbed)
    with pytest.raises(UpstreamError, match="changed while it was read"):
        DigestMemo(tmp_path / "digests.json").sha256(file)
