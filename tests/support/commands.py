"""What a command that ran has left, in the tests' own process or in one of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        assert document["schema"] == 1
        return document

    def ok(self) -> Done:
        """The command itself. Fails the test if its exit code is not 0."""
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


Cli = Callable[..., Done]
