"""Ending transfers at once: the client's own threads would go on until their server answers.

What must stay true: after Ctrl-C or SIGTERM no request begins and none is waited for; whoever handled the signal before
still does.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from twinctl.errors import Interrupted

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


def interruptibly(work: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
    """What `work` gives, done in a thread that Ctrl-C leaves behind: some of the client's waits hear no signal.

    `tick` is called now and then meanwhile.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        tick()
    if failed:
        raise failed[0]
    return done[0]


class Line:
    """The connections of one client, to be hung up all together."""

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self.is_cut = False

    def watch(self, request: httpx.Request) -> None:
        """To be called with every request of the client before it is sent."""
        if self.is_cut:
            raise Interrupted("hung up")
        request.extensions = {**request.extensions, "trace": self._trace}

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event in _OPENED:
            self._streams.append(info["return_value"])

    def hang_up(self) -> None:
        """Break every connection off; no other request is sent."""
        self.is_cut = True
        for stream in self._streams:
            with suppress(OSError, AttributeError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    @contextmanager
    def cut_by_signals(self) -> Iterator[None]:
        """Inside the block Ctrl-C and SIGTERM hang up first, then do what they did before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[signal.Signals, Any] = {}

        def handle(number: int, frame: Any) -> None:
            self.hang_up()
            previous = before[signal.Signals(number)]
            if not callable(previous):
                raise KeyboardInterrupt
            previous(number, frame)

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number)
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)
