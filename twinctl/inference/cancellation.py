"""Ctrl-C during an answer: the answer ends, the program goes on.

What must stay true: the first Ctrl-C lets the model finish the token that it is at, so that nothing is left half done;
the second raises KeyboardInterrupt at once; outside the block Ctrl-C means what it meant before.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cancellation:
    """Whether the answer is to end."""

    requested: bool = False


@contextmanager
def cancel_on_ctrl_c() -> Iterator[Cancellation]:
    """A cancellation that Ctrl-C sets. Beside the main thread, which alone gets signals, nobody sets it."""
    cancellation = Cancellation()
    if threading.current_thread() is not threading.main_thread():
        yield cancellation
        return

    def ask(number: int, frame: object) -> None:
        if cancellation.requested:
            raise KeyboardInterrupt
        cancellation.requested = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield cancellation
    finally:
        signal.signal(signal.SIGINT, before)
