"""Whatever moment the work ends at, the artifact is complete and right or not complete, and the same call mends it.

Two ways to end: a child process that dies just before its n-th change on disk, as by kill -9; and the n-th change
failing, as on a full disk, so that the handlers run too. Both for every n.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from toy_phase import RUN, Toy, text_of

from twinctl.errors import ConfigError
from twinctl.pipeline.phase import Plan
from twinctl.workspace.lock import is_locked
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.workspace import Workspace

DIED, FAILED = 9, 8
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CALLS = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync")
MOST = 200
EndsAt = Callable[[int, Callable[[], object]], bool]


class _Countdown:
    """Calls `ending` at the n-th tick, once."""

    def __init__(self, point: int, ending: Callable[[], None]) -> None:
        self._left, self._ending = point, ending

    def tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ending()


def _dies_at(point: int, work: Callable[[], object]) -> bool:
    """Whether `work`, in a child process, died before its n-th change; False when it came to its end."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        countdown = _Countdown(point, lambda: os._exit(DIED))

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event in CHANGES or (event == "open" and arguments[2] & WRITES):
                countdown.tick()

        flush = os.fsync
        os.fsync = lambda descriptor: (countdown.tick(), flush(descriptor))[1]
        try:
            sys.addaudithook(watch)
            work()
        except BaseException:
            os._exit(FAILED)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, DIED), f"the child failed: {code}"
    return code == DIED


def _fails_at(point: int, work: Callable[[], object]) -> bool:
    """Whether `work` failed because its n-th change did; False when there was none."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    countdown = _Countdown(point, full)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _counted(getattr(os, name), countdown))
        with suppress(OSError, ConfigError):
            work()
        return countdown._left <= 0


def _counted(function: Callable[..., Any], countdown: _Countdown) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        countdown.tick()
        return function(*arguments, **options)

    return counted


def _check_whole_or_absent(workspace: Workspace, plan: Plan, text: str) -> None:
    artifact = workspace.artifact(plan.path(workspace))
    assert not is_locked(artifact.path)
    if artifact.record() is None:
        assert artifact.state() != "complete"
    else:
        artifact.check(file_sha256, RUN)
        assert text_of(artifact) == text


def _check_same_call_succeeds(workspace: Workspace, toy: Toy, plan: Plan, text: str) -> None:
    outcome = toy.execute(workspace, plan)
    outcome.artifact.check(file_sha256, RUN)
    assert text_of(outcome.artifact) == text
    assert workspace.runs.get(RUN).slots["toy"] == plan.path(workspace)
    assert outcome.artifact.state() == "complete"
    assert toy.execute(workspace, plan).cached


@pytest.mark.parametrize("ends_at", [_dies_at, _fails_at])
def test_work_that_ends_at_any_change_is_whole_or_absent(workspace: Workspace, toy: Toy, ends_at: EndsAt) -> None:
    for point in range(1, MOST):
        plan = toy.plan(text=f"text {point}", times=1)
        ended = ends_at(point, lambda plan=plan: toy.execute(workspace, plan))
        _check_whole_or_absent(workspace, plan, f"text {point}")
        _check_same_call_succeeds(workspace, toy, plan, f"text {point}")
        if not ended:
            break
    assert 30 < point < MOST - 1  # every change was met


@pytest.mark.parametrize("ends_at", [_dies_at, _fails_at])
def test_a_restart_that_ends_at_any_change_is_whole_or_absent(workspace: Workspace, toy: Toy, ends_at: EndsAt) -> None:
    for point in range(1, MOST):
        toy.execute(workspace)
        ended = ends_at(point, lambda: toy.execute(workspace, restart=True))
        _check_whole_or_absent(workspace, toy.plan(), "hellohellohello")
        _check_same_call_succeeds(workspace, toy, toy.plan(), "hellohellohello")
        if not ended:
            break
    assert 30 < point < MOST - 1


@pytest.mark.parametrize("ends_at", [_dies_at, _fails_at])
def test_a_workspace_whose_making_ends_at_any_change_is_made_by_the_next_call(
    tmp_path: Path, toy: Toy, ends_at: EndsAt
) -> None:
    for point in range(1, MOST):
        root = tmp_path / str(point)
        ended = ends_at(point, lambda root=root: Workspace.open(root).create())
        Workspace.open(root).create()
        assert not toy.execute(Workspace.open(root)).cached
        if not ended:
            break
    assert 5 < point < MOST - 1
