"""Ctrl-C during an answer: the answer ends, the program continues.

What must stay true: the first Ctrl-C lets the model finish its current token, so that nothing is left incomplete;
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
    """Whether a request to end the answer was made."""

    requested: bool = False


@contextmanager
def cancel_on_ctrl_c() -> Iterator[Cancellation]:
    """A cancellation that Ctrl-C requests; in any thread but the main one, which alone gets signals, nothing does."""
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
