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
from twinctl.workspace.workspace import Workspace


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read for its digest."""
    seen: list[Path] = []
    read: Callable[[Path], str] = memo_module.file_sha256
    monkeypatch.setattr(memo_module, "file_sha256", lambda path: (seen.append(path), read(path))[1])
    monkeypatch.setattr(memo_module, "WORTH_REMEMBERING", 1)
    return seen


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock that the memo reads to so many seconds from now; files get their times from the real one."""
    now = time.time_ns
    return lambda seconds: monkeypatch.setattr(memo_module.time, "time_ns", lambda: now() + int(seconds * 1e9))


def test_an_unchanged_old_file_is_read_once_ever(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None]
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    set_clock(60)
    digests = {DigestMemo(tmp_path / "digests.json").sha256(file) for _ in range(3)}
    assert digests == {hashlib.sha256(b"abc").hexdigest()}
    assert len(reads) == 1


def test_a_file_written_just_now_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    """Within the clock's grain of the reading it could change once more unseen."""
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    file.write_bytes(b"abc")
    stat = file.stat()
    before = memo.sha256(file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time, same inode
    assert memo.sha256(file) != before
    assert len(reads) == 2


def test_a_file_from_the_future_is_not_remembered(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None]
) -> None:
    """As after the clock was set back."""
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    file.write_bytes(b"abc")
    set_clock(-3600)
    memo.sha256(file)
    memo.sha256(file)
    assert len(reads) == 2


def test_a_change_of_size_time_or_inode_is_seen(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None]
) -> None:
    file, memo = tmp_path / "weights", DigestMemo(tmp_path / "digests.json")
    set_clock(60)
    file.write_bytes(b"abc")
    memo.sha256(file)
    file.write_bytes(b"abcd")
    assert memo.sha256(file) == hashlib.sha256(b"abcd").hexdigest()
    stat = file.stat()
    file.write_bytes(b"abce")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time, same inode: ctime tells
    assert memo.sha256(file) == hashlib.sha256(b"abce").hexdigest()
    other = tmp_path / "other"
    other.write_bytes(b"abcf")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)
    assert memo.sha256(file) == hashlib.sha256(b"abcf").hexdigest()
    assert len(reads) == 4


def test_a_link_is_known_by_what_it_leads_to(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None]
) -> None:
    """As in the Hub's cache, where names are links to blobs."""
    (tmp_path / "blob").write_bytes(b"abc")
    set_clock(60)
    memo = DigestMemo(tmp_path / "digests.json")
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tmp_path / "blob")
        memo.sha256(tmp_path / name)
    assert len(reads) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"digests": {"x": 3}}', '{"digests": []}', "null"])
def test_a_damaged_memo_only_forgets(tmp_path: Path, content: str) -> None:
    (tmp_path / "digests.json").write_text(content)
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    assert DigestMemo(tmp_path / "digests.json").sha256(file) == hashlib.sha256(b"abc").hexdigest()


def test_a_memo_that_cannot_be_saved_only_forgets(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    assert DigestMemo(tmp_path / "nowhere" / "digests.json").sha256(file) == hashlib.sha256(b"abc").hexdigest()
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    read = memo_module.file_sha256

    def disturbed(path: Path) -> str:
        digest = read(path)
        path.write_bytes(b"abcdef")
        return digest

    monkeypatch.setattr(memo_module, "file_sha256", disturbed)
    with pytest.raises(UpstreamError, match="changed while it was read"):
        DigestMemo(tmp_path / "digests.json").sha256(file)


def test_a_small_file_is_not_worth_remembering(tmp_path: Path, set_clock: Callable[[float], None]) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    set_clock(60)
    DigestMemo(tmp_path / "digests.json").sha256(file)
    assert not (tmp_path / "digests.json").exists()


def test_what_was_read_before_there_was_a_workspace_is_not_read_again(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None]
) -> None:
    """The first prepare reads the base model before it makes the workspace."""
    file, root = tmp_path / "weights", tmp_path / "workspace"
    file.write_bytes(b"abc")
    set_clock(60)
    workspace = Workspace.open(root)
    workspace.memo.sha256(file)
    assert not root.exists()
    workspace.create()
    Workspace.open(root).memo.sha256(file)
    assert len(reads) == 1


def test_files_read_side_by_side_give_their_digests_in_order_and_are_all_remembered(
    tmp_path: Path, reads: list[Path], set_clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo_module, "WORTH_THREADS", 0)
    files = [tmp_path / f"part-{number}" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * (40 - number))
    set_clock(60)
    memo = DigestMemo(tmp_path / "digests.json")
    expected = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert memo_module.read_all(files, memo.sha256) == expected
    assert memo_module.read_all(files, DigestMemo(tmp_path / "digests.json").sha256) == expected
    assert sorted(reads) == sorted(files)


def test_a_file_that_cannot_be_read_beside_others_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo_module, "WORTH_THREADS", 0)
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.write_bytes(b"x")

    def broken(path: Path) -> str:
        if path.name == "b":
            raise OSError(5, "Input/output error", str(path))
        return memo_module.file_sha256(path)

    with pytest.raises(OSError, match="b'"):
        memo_module.read_all(files, broken)
