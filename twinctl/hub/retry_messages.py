"""What the client waits for while it tries again, told as it happens.

What must stay true: whoever waits knows for what and how long; nothing of the client's own text is told, because the
addresses in it are signed. Large files go by the Xet client, which waits by itself: see xet.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOGGER = "huggingface_hub.utils._http"
_STATUS = re.compile(r"HTTP Error (\d+) thrown while requesting (\w+)")
_FAILED = re.compile(r"thrown while requesting (\w+)")
_WAIT = re.compile(r"(?:Retrying in|Waiting) ([\d.]+)s.*\[Retry (\d+)/(\d+)\]")


class _Teller(logging.Handler):
    """Turns the client's two lines on a retry, what went wrong and how long it waits, into one of ours."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say, self._why = say, "the Hub cannot be reached"

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the client's log."""
        text = record.getMessage()
        if status := _STATUS.search(text):
            self._why = "the Hub asks to slow down" if status[1] == "429" else f"the Hub answered {status[1]}"
        elif _FAILED.search(text):
            self._why = "no answer in time" if "timed out" in text else "the connection broke"
        elif wait := _WAIT.search(text):
            self._say(f"{self._why}; trying again in {float(wait[1]):.0f} s ({wait[2]} of {wait[3]})")


@contextmanager
def told_waits(say: Callable[[str], None]) -> Iterator[None]:
    """Inside the block `say` hears of every wait before the client tries again."""
    logger = logging.getLogger(_LOGGER)
    before = (logger.level, logger.propagate)
    teller = _Teller(say)
    logger.addHandler(teller)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(teller)
        logger.level, logger.propagate = before
        logger.setLevel(before[0])
