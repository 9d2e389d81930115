"""The Xet client, by which large files go: kept from trying for minutes, and its waits told as they happen.

What must stay true: as in waits.py; and since all that is known of its waits is its own log, a log that is not there or
says other words costs the telling and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TRIES = "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS"
# Its own are 60 s for a connection, and 3, 9, 27, 81 and 243 s between tries. Its 5 minutes for an answer stay: they
# begin with the request, and 64 MB over a slow line take some.
_XET_LIMITS = {"HF_XET_CLIENT_CONNECT_TIMEOUT": "10s", _TRIES: "4", "HF_XET_CLIENT_RETRY_BASE_DELAY": "2s"}
SILENCE = 20.0
_BEGUN = re.compile(r'Starting upload_(?:xorb|shard) API|api_tag: "xet-token"')
_ENDED = re.compile(r"Completed upload_(?:xorb|shard) API|Success: xet-token")
_FAILED_TRY = re.compile(r"Retryable .*?api call failed(?: \(.*?retry (\d+)\)|).*?: (?:HTTP status \w+ error \((\d+)|)")


def limit_xet() -> None:
    """Keep the Xet client, if it is not loaded yet, from trying for minutes. What somebody set stays."""
    for name, value in _XET_LIMITS.items():
        os.environ.setdefault(name, value)


class XetWaits:
    """Tells of the Xet client's waits, which only its log file knows of. Call `tick` often while it works."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, ""
        self._open, self._since = 0, time.monotonic()
        self._path, self._read = self._log(), 0
        self._lines()  # an earlier transfer's

    @staticmethod
    def _log() -> Path | None:
        from huggingface_hub.constants import HF_XET_CACHE

        return max(Path(HF_XET_CACHE, "logs").glob(f"*_{os.getpid()}.log"), default=None)

    def tick(self) -> None:
        """Read on, and say what is new."""
        for line in self._lines():
            with suppress(ValueError, AttributeError):  # somebody chose another form for the client's log
                fields = json.loads(line).get("fields", {})
                self._hear(f"{fields.get('message', '')} {fields.get('retry', '')}")
        if self._open > 0 and time.monotonic() - self._since > SILENCE:
            self._tell(f"no answer of the Hub's file store for {SILENCE:.0f} s; still waiting")

    def _lines(self) -> list[bytes]:
        """The whole lines that were written since."""
        if (path := self._log()) is None:
            return []
        if path != self._path:
            self._path, self._read = path, 0
        try:
            with path.open("rb") as log:
                log.seek(self._read)
                whole, _, _ = log.read().rpartition(b"\n")
        except OSError:  # the client clears old logs away
            return []
        self._read += len(whole) + 1 if whole else 0
        return whole.splitlines()

    def _hear(self, text: str) -> None:
        begun, ended, failed = _BEGUN.search(text), _ENDED.search(text), _FAILED_TRY.match(text)
        if begun or ended:
            self._open += 1 if begun else -1
        if failed:
            self._tell_try(text, int(failed[1] or 0) + 1, failed[2])
        if begun or ended or failed:
            self._since = time.monotonic()

    def _tell_try(self, text: str, number: int, status: str | None) -> None:
        who, tries = "the Hub" if "xet-token" in text else "the Hub's file store", os.environ[_TRIES]
        if number > int(tries):
            return
        silent = time.monotonic() - self._since > SILENCE
        why = f"{who} gave no answer in time" if silent else f"the connection to {who} broke"
        if status:
            why = f"{who} asks to slow down" if status == "429" else f"{who} answered {status}"
        self._tell(f"{why}; trying again ({number} of {tries})")

    def _tell(self, text: str) -> None:
        """Several files wait for the same: once is enough."""
        if text != self._said:
            self._said = text
            self._say(text)
