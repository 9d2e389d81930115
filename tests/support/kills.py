"""Two ways to end work at its n-th change on disk: the process dies, or the change fails."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from twinctl.errors import ConfigError

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


def dies_at(point: int, work: Callable[[], object]) -> bool:
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


def fails_at(point: int, work: Callable[[], object]) -> bool:
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
