"""A request to stop, by Ctrl-C, SIGTERM or `twinctl stop`.

What must stay true: while a trainer can still write a checkpoint the request waits for it; at any other moment the
process ends at once, which is safe because a kill is safe everywhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from twinctl.errors import Interrupted, Terminated


class Stop:
    """Holds the signal that asked for the stop, while `deferred`."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self.before_exit: Callable[[], None] = lambda: None
        self._deferred = False

    def install(self) -> None:
        """Answer SIGINT and SIGTERM; a closed terminal (SIGHUP) is none of the worker's business."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal only sets `requested`: the loop that runs ends itself in good order."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def error(self, message: str) -> Interrupted:
        """The error to raise once the work has been brought to a good end."""
        kind = Terminated if self.requested == signal.SIGTERM else Interrupted
        return kind(message, "the same command resumes from there")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._deferred:
            self.requested = number
        else:
            self.before_exit()
            # Not an exception: libraries catch those while they are imported, and continue half loaded.
            os._exit(128 + number)
