"""Why a transfer waits, reported when the client is about to try again.

What must stay true: a wait is reported with its reason; nothing of the client's own text is shown, because the
addresses in it are signed. Large files go by the Xet client, whose waits only its log file knows: a log that is missing
or has another form costs the messages and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twinctl.hub.failures import status_in

SILENCE = 20.0
_LOGGER = "huggingface_hub.utils._http"
# How the client's log lines begin when it is going to send a request again.
_HTTP_RETRY, _XET_RETRY = ("Retrying", "Rate limited"), "Retryable"


def reason_for(status: int, server: str = "the Hub") -> str:
    """What an answer with this status says, in words."""
    return f"{server} asks to slow down" if status == 429 else f"{server} answered {status}"


class HttpWaits(logging.Handler):
    """Reports that a request is sent again, with the reason that `failed` was given in the same thread."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say, self._last = say, threading.local()

    def failed(self, reason: str) -> None:
        """Remember why the thread's request failed."""
        self._last.reason = reason

    def emit(self, record: logging.LogRecord) -> None:
        """Report the wait that the client's log announces."""
        if record.getMessage().startswith(_HTTP_RETRY):
            self._say(f"{getattr(self._last, 'reason', 'the Hub cannot be reached')}; trying again")

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Inside the block the client's log comes here, and is shown nowhere else."""
        logger = logging.getLogger(_LOGGER)
        before = (logger.level, logger.propagate)
        logger.addHandler(self)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = before[1]
            logger.setLevel(before[0])


class XetWaits:
    """Reports the Xet client's waits. Call `tick` often while it works."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._last = say, ""
        self._path, self._offset = self._log(), 0
        self._new_lines()  # an earlier transfer's
        self._heard: float | None = None

    @staticmethod
    def _log() -> Path | None:
        from huggingface_hub.constants import HF_XET_CACHE

        return max(Path(HF_XET_CACHE, "logs").glob(f"*_{os.getpid()}.log"), default=None)

    def tick(self) -> None:
        """Report what the log says since the last call, or that it says nothing any more."""
        for line in self._new_lines():
            self._heard = time.monotonic()
            with suppress(ValueError, TypeError, LookupError):  # the user chose another form for the log
                message = str(json.loads(line)["fields"]["message"])
                if message.startswith(_XET_RETRY):
                    server = "the Hub" if "xet-token" in message else "the Hub's file store"
                    status = status_in(message)
                    reason = reason_for(status, server) if status else f"the connection to {server} broke"
                    self._report(f"{reason}; trying again")
        if self._heard and time.monotonic() - self._heard > SILENCE:
            self._report(f"no word from the Hub's file store for {SILENCE:.0f} s; still waiting")

    def _new_lines(self) -> list[bytes]:
        """The whole lines that were written since the last call."""
        if (path := self._log()) is None:
            return []
        if path != self._path:
            self._path, self._offset = path, 0
        try:
            with path.open("rb") as log:
                log.seek(self._offset)
                whole, _, _ = log.read().rpartition(b"\n")
        except OSError:  # the client removes old logs
            return []
        self._offset += len(whole) + 1 if whole else 0
        return whole.splitlines()

    def _report(self, text: str) -> None:
        """Say it once: several files wait for the same."""
        if text != self._last:
            self._last = text
            self._say(text)
