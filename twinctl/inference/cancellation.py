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
class Halt:
    """Whether the answer is to end."""

    wanted: bool = False


@contextmanager
def halted_by_ctrl_c() -> Iterator[Halt]:
    """A halt that Ctrl-C sets. Beside the main thread, which alone gets signals, nobody sets it."""
    halt = Halt()
    if threading.current_thread() is not threading.main_thread():
        yield halt
        return

    def ask(number: int, frame: object) -> None:
        if halt.wanted:
            raise KeyboardInterrupt
        halt.wanted = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield halt
    finally:
        signal.signal(signal.SIGINT, before)
