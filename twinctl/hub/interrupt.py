"""Ending transfers at once: the client's own threads would wait until their server answers.

What must stay true: after Ctrl-C or SIGTERM no request begins and none is waited for.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from twinctl.errors import Interrupted

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


def interruptibly(work: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
    """What `work` returns. It runs in a thread that Ctrl-C leaves behind, since some of the client's waits hear no
    signal. `tick` is called now and then meanwhile.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        tick()
    if errors:
        raise errors[0]
    return results[0]


class Connections:
    """The open connections of a client, so that all of them can be closed together."""

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self.are_closed = False

    def watch(self, request: httpx.Request) -> None:
        """Remember the connection that the request opens. Raises Interrupted once they are closed."""
        if self.are_closed:
            raise Interrupted("the connections to the Hub are closed")
        request.extensions = {**request.extensions, "trace": self._trace}

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event in _OPENED:
            self._streams.append(info["return_value"])

    def close(self) -> None:
        """Shut every connection, even one that is waited for; no other request is sent."""
        self.are_closed = True
        for stream in self._streams:
            with suppress(OSError, AttributeError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
