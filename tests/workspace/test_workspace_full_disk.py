"""A disk that fills up costs an attempt, never a result: exit 3 with the mend, and with room again the same command.

On a real file system of 8 MiB (tmpfs) that is filled to the last pages. Who may not mount one has these tests run in a
user namespace of their own, where everybody may.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.desk import PREPARE, fake_phases, lay_out
from tests.support.mounts import SMALL, mounted, run_again_in_a_namespace
from tests.support.toy_phase import RUN, Toy, text_of
from twinctl.errors import ConfigError, explained
from twinctl.pipeline.phase import AnyAttempt
from twinctl.workspace import memo
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import append_line
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.workspace import Workspace

PAGE = 4096
ROWS = 60  # some 25 pages of tokens and of what is written about them


@dataclass(frozen=True)
class Disk:
    """A small file system."""

    path: Path

    @property
    def free(self) -> int:
        """Bytes that are left."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, *, leave: int) -> None:
        """Leave so many bytes."""
        (self.path / "filler").write_bytes(b"x" * (self.free - leave))
        assert self.free == leave

    def make_room(self) -> None:
        """Take away what `fill` wrote."""
        (self.path / "filler").unlink()

    def clear(self) -> None:
        """Take everything away."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path, SMALL):
        yield Disk(path)


def test_who_may_not_mount_has_these_tests_run_in_a_namespace(tmp_path: Path) -> None:
    run_again_in_a_namespace(__file__, tmp_path)


def _workspace(disk: Disk) -> Workspace:
    workspace = Workspace.open(disk.path / "workspace")
    workspace.create()
    return workspace


def _whole(artifact: Artifact) -> bool:
    artifact.check(file_sha256, RUN)
    return artifact.record() is not None and artifact.state() == "complete"


def test_prepare_that_finds_no_room_at_some_page_is_refused_and_mended_by_room(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_phases(monkeypatch)
    whole = lay_out(tmp_path / "elsewhere", count=ROWS)
    expected = whole.ask(PREPARE)
    files = {path.name: path.read_bytes() for path in whole.out("prepare").iterdir()}
    refused = 0
    for pages in range(0, 60, 2):
        disk.clear()
        desk = lay_out(disk.path / "desk", count=ROWS)
        disk.fill(leave=pages * PAGE)
        first = desk.type(PREPARE, "--json")
        if first.code:
            refused += 1
            error = first.document["error"]
            assert (first.code, error["code"]) == (3, "ConfigError")
            assert "no space left" in error["message"].lower()
            assert "folder" in error["hint"] and "--workspace DIR" in error["hint"]
            assert "complete" not in [line["state"] for run in desk.ask("status")["runs"] for line in run["phases"]]
        disk.make_room()
        again = desk.ask(PREPARE)
        assert (again["fingerprint"], again["metrics"]) == (expected["fingerprint"], expected["metrics"])
        assert {path.name: path.read_bytes() for path in desk.out("prepare").iterdir()} == files
        assert desk.states("--verify") == {"prepare": "complete"}
        assert list(desk.path.rglob("*.partial")) == []
        if not first.code:
            break
    assert first.document["cached"] is False
    assert refused >= 2


def _torch_cannot_write(attempt: AnyAttempt) -> None:
    raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


@pytest.mark.parametrize("leave", [0, 2 * PAGE, 2**19])
def test_a_librarys_own_word_for_a_full_disk_is_not_told_as_a_bug(disk: Disk, toy: Toy, leave: int) -> None:
    def fill_and_fail(attempt: AnyAttempt) -> None:
        disk.fill(leave=leave)
        _torch_cannot_write(attempt)

    workspace = _workspace(disk)
    toy.before = fill_and_fail
    with pytest.raises((ConfigError, OSError)) as caught:
        toy.execute(workspace)
    told = explained(caught.value)
    assert told is not None
    assert (told.exit_code, "no space left" in told.message.lower()) == (3, True)
    assert "free space" in told.hint and "--workspace DIR" in told.hint
    artifact = workspace.artifact(toy.plan().path(workspace))
    assert artifact.record() is None
    failure = artifact.failure()
    assert failure is None or failure.code == "ConfigError"
    disk.make_room()
    toy.before = lambda attempt: None
    assert _whole(toy.execute(workspace).artifact)


def test_the_same_word_with_room_left_is_a_bug(disk: Disk, toy: Toy) -> None:
    toy.before = _torch_cannot_write
    workspace = _workspace(disk)
    with pytest.raises(RuntimeError, match="PytorchStreamWriter"):
        toy.execute(workspace)
    failure = workspace.artifact(toy.plan().path(workspace)).failure()
    assert failure is not None
    assert failure.code == "Bug"


def test_a_result_stays_whole_when_the_next_one_fills_the_disk(disk: Disk, toy: Toy) -> None:
    workspace = _workspace(disk)
    first = toy.execute(workspace)
    large = toy.plan(text="x" * 1024, times=9 * 1024)
    with pytest.raises((ConfigError, OSError)) as caught:
        toy.execute(workspace, large)
    assert isinstance(explained(caught.value), ConfigError)
    assert disk.free < PAGE
    workspace = Workspace.open(workspace.root)  # as the next command does
    assert _whole(first.artifact)
    assert workspace.runs.get(RUN).slots["toy"] == toy.plan().path(workspace)
    shutil.rmtree(workspace.artifact(large.path(workspace)).work)
    assert toy.execute(workspace).cached


def test_a_restart_that_finds_no_room_leaves_the_finished_result(disk: Disk, toy: Toy) -> None:
    workspace = _workspace(disk)
    first = toy.execute(workspace)
    toy.before = lambda attempt: disk.fill(leave=0)
    with pytest.raises((ConfigError, OSError)) as caught:
        toy.execute(workspace, restart=True)
    assert isinstance(explained(caught.value), ConfigError)
    assert _whole(first.artifact)
    disk.make_room()
    toy.before = lambda attempt: None
    assert _whole(toy.execute(workspace, restart=True).artifact)
    assert text_of(first.artifact) == "hellohellohello"


def test_a_line_that_the_full_disk_cut_short_is_passed_over(disk: Disk) -> None:
    events = disk.path / "events.jsonl"
    append_line(events, {"event": "step", "step": 1})
    disk.fill(leave=PAGE)
    with pytest.raises(OSError, match="No space left"):
        append_line(events, {"event": "step", "step": 2, "why": "x" * 4 * PAGE})
    torn = events.read_bytes().splitlines()[-1]
    assert torn.startswith(b'{"event": "step", "step": 2') and not torn.endswith(b"}")
    assert [event["step"] for event in Artifact(disk.path).events()] == [1]
    disk.make_room()
    append_line(events, {"event": "step", "step": 3})
    assert [event["step"] for event in Artifact(disk.path).events()] == [1, 3]


def test_what_cannot_be_remembered_is_read_again(disk: Disk, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memo without room forgets, and a run that is where it should be is not written."""
    monkeypatch.setattr(memo, "RACY_NS", 0)  # so that it wants to remember
    monkeypatch.setattr(memo, "WORTH_REMEMBERING", 1)
    workspace = _workspace(disk)
    toy.execute(workspace)
    disk.fill(leave=0)
    assert toy.execute(Workspace.open(workspace.root)).cached
    assert not (workspace.root / "digests.json").exists()
    disk.make_room()
    assert toy.execute(Workspace.open(workspace.root)).cached
    assert "text.txt" in (workspace.root / "digests.json").read_text()
