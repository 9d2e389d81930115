"""The clock decides nothing: set back by a year or ahead by a day at any moment, states, lookups and results are right.

Times are written for people. What is newest is told by the order of the run's pointers, how long something took by the
monotonic clock, and whether a file changed by its ctime, which a wrong clock only makes to be read more often.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from tests.support.desk import PREPARE, Desk, copied, fake_phases, make_twin
from tests.support.toy_phase import RUN, Toy, text_of
from twinctl.errors import BusyError, ConfigError, Interrupted
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import AnyAttempt
from twinctl.pipeline.run_view import RunView
from twinctl.pipeline.watch import what_happened
from twinctl.workspace import memo
from twinctl.workspace.lock import Lock, owner_text
from twinctl.workspace.memo import RACY_NS, DigestMemo, file_sha256
from twinctl.workspace.workspace import Workspace

BACK, AHEAD = -365 * 86400, 86400
JUMPS = [*permutations((0, BACK, AHEAD)), (0, -time.time(), 0)]  # the last: 1970, as after the battery's end


class Clock:
    """What everybody's time.time() says: the real time and `offset` seconds."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._real = time.time, time.time_ns

    def now(self) -> float:
        """As time.time()."""
        return self._real[0]() + self.offset

    def now_ns(self) -> int:
        """As time.time_ns()."""
        return self._real[1]() + int(self.offset) * 1_000_000_000


@pytest.fixture(scope="module", autouse=True)
def trained_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with tokens and an adapter, for tests to copy; only prepare does real work."""
    with pytest.MonkeyPatch.context() as patch:
        fake_phases(patch)
        yield make_twin(tmp_path_factory.mktemp("twin"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "time", made.now)
    monkeypatch.setattr(time, "time_ns", made.now_ns)
    return made


def _fails(attempt: AnyAttempt) -> None:
    raise ConfigError("row 3 is odd", "look at it")


@pytest.mark.parametrize("jumps", JUMPS)
def test_states_and_hits_are_right_however_it_jumps(
    workspace: Workspace, toy: Toy, clock: Clock, jumps: tuple[float, float, float]
) -> None:
    clock.offset = jumps[0]
    artifact = workspace.artifact(toy.plan().path(workspace))
    seen = [artifact.state()]

    def jump_and_fail(attempt: AnyAttempt) -> None:
        seen.append(artifact.state())
        clock.offset = jumps[1]
        _fails(attempt)

    def jump(attempt: AnyAttempt) -> None:
        seen.append(artifact.state())
        clock.offset = jumps[2]

    toy.before = jump_and_fail
    with pytest.raises(ConfigError):
        toy.execute(workspace)
    seen.append(artifact.state())
    toy.before = jump
    record = toy.execute(workspace).record
    seen.append(artifact.state())
    assert seen == ["absent", "running", "failed", "running", "complete"]
    assert artifact.failure() is None
    assert 0 <= record.seconds < 60
    assert record.created == pytest.approx(clock.now(), abs=60)
    for clock.offset in jumps:
        again = toy.execute(Workspace.open(workspace.root))
        assert (again.cached, again.record) == (True, record)
        again.artifact.check(file_sha256, RUN)
    assert toy.calls == 2


@pytest.mark.parametrize("jump", [BACK, AHEAD])
def test_the_last_attempt_counts_not_the_latest_time(workspace: Workspace, toy: Toy, clock: Clock, jump: float) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    toy.before = _fails
    with pytest.raises(ConfigError):
        toy.execute(workspace)
    clock.offset = jump
    toy.before = lambda attempt: (_ for _ in ()).throw(ConfigError("row 4 is odd", "look at that"))
    with pytest.raises(ConfigError):
        toy.execute(workspace)
    failure = artifact.failure()
    assert failure is not None
    assert failure.message == what_happened(artifact).message == "row 4 is odd"
    toy.before = lambda attempt: (_ for _ in ()).throw(Interrupted("stop"))
    clock.offset = 0
    with pytest.raises(Interrupted):
        toy.execute(workspace)
    assert artifact.state() == "partial"
    assert isinstance(what_happened(artifact), Interrupted)
    assert [line["attempt"] for line in artifact.attempts()] == [1, 2, 3]


@pytest.mark.parametrize("jump", [BACK, AHEAD])
def test_the_newest_of_a_kind_is_the_one_made_last(
    trained_desk: Desk, tmp_path: Path, clock: Clock, jump: float
) -> None:
    desk = copied(trained_desk, tmp_path / "desk")
    desk.type("export -q f16").ok()
    clock.offset = jump
    desk.type("export -q q8_0").ok()
    assert desk.type("path gguf").ok().out.endswith("-q8_0.gguf\n")
    first = desk.out("train")
    desk.type("train --rank 4").ok()
    clock.offset = -jump
    desk.type("train --rank 8").ok()
    workspace = desk.workspace
    newest = RunView(workspace, workspace.run(None)).find(Kind.ADAPTER)
    assert newest is not None
    assert newest.record.recipe["rank"] == 8
    desk.type("train").ok()  # asked for in place of that: now this one
    assert RunView(workspace, workspace.run(None)).need(Kind.ADAPTER).out == first


@pytest.mark.parametrize("jump", [BACK, AHEAD, 400 * 86400])
def test_ages_are_never_negative(trained_desk: Desk, tmp_path: Path, clock: Clock, jump: float) -> None:
    desk = copied(trained_desk, tmp_path / "desk")
    clock.offset = jump
    shown = [desk.type(words).ok().out for words in ("status", "runs", "inspect train", "logs train")]
    ages = re.findall(r"(\S+) (s|min|h|d) ago", shown[0] + shown[1])
    assert len(ages) == 3  # two phases and a run
    expected = ("0", "s") if jump < 0 else (str(jump // 86400), "d")
    assert [age for age in ages if age != expected] == []
    assert all("-1 " not in text and "Traceback" not in text for text in shown)
    assert desk.states() == {"prepare": "complete", "train": "complete"}
    assert desk.ask(PREPARE)["cached"] is True


@pytest.mark.parametrize("jump", [0, BACK, AHEAD])
def test_an_edit_is_seen_whatever_time_it_is(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(memo, "WORTH_REMEMBERING", 1)
    file = tmp_path / "weights"
    file.write_bytes(b"before")
    known = DigestMemo(tmp_path / "digests.json")
    first = known.sha256(file)
    clock.offset = jump
    assert known.sha256(file) == DigestMemo(tmp_path / "digests.json").sha256(file) == first
    stat = file.stat()
    while file.stat().st_ctime_ns == stat.st_ctime_ns:  # a clock that was really set has moved on, too
        file.write_bytes(b"after!")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for clock.offset in (jump, 0, -jump):
        assert known.sha256(file) == DigestMemo(tmp_path / "digests.json").sha256(file) == file_sha256(file) != first


def test_a_clock_that_was_set_back_only_costs_reading(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until that time comes again the file is from the future, and so it is not remembered."""
    monkeypatch.setattr(memo, "WORTH_REMEMBERING", 1)
    file = tmp_path / "weights"
    file.write_bytes(b"content")
    clock.offset = BACK
    DigestMemo(tmp_path / "digests.json").sha256(file)
    assert not (tmp_path / "digests.json").exists()
    clock.offset = 2 * RACY_NS / 1e9
    DigestMemo(tmp_path / "digests.json").sha256(file)
    assert str(file) in (tmp_path / "digests.json").read_text()


@pytest.mark.parametrize("jump", [BACK, AHEAD])
def test_who_holds_the_lock_is_told_and_nobody_waits_longer(
    workspace: Workspace, toy: Toy, clock: Clock, jump: float
) -> None:
    lock = Lock(workspace.artifact(toy.plan().path(workspace)).path, ["toy"])
    lock.acquire(wait=False)
    clock.offset = jump
    began = time.monotonic()
    with pytest.raises(BusyError, match="is being worked on by process"):
        toy.execute(workspace)
    assert time.monotonic() - began < 20
    assert f"process {os.getpid()}" in owner_text(lock.folder)
    lock.release()
    assert text_of(toy.execute(workspace).artifact) == "hellohellohello"
