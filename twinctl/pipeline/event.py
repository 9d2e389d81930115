"""What happens while a phase is carried out: how it is stored, reported and read.

What must stay true: what a file holds is not trusted, so a value that is missing or of another type is no error;
`stored` gives the line of events.jsonl that `of` was given; words to show hold no secret and nothing that a terminal
obeys.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from twinctl.config.secrets import redact
from twinctl.workspace.artifact import Artifact

UNFIT, VARIANTS = ("Cc", "Cf", "Cs"), "\ufe0e\ufe0f"
# What a terminal would obey: a colour, a title, a move.
ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


@dataclass(frozen=True)
class SampleAnswer:
    """A fixed prompt and what the model answered to it; `finish` is length where the answer was cut off."""

    prompt: str
    text: str
    finish: str


@dataclass(frozen=True)
class Event:
    """Something that happened, of a `kind` such as stage, step, progress, evaluation or warning, with its `values`.

    `time`: when it was stored, in seconds since 1970; None for an event that was only reported. `phase`: the slot that
    it belongs to, in what a script receives.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    time: float | None = None
    phase: str = ""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Event:
        """From a line of events.jsonl."""
        values = {name: value for name, value in stored.items() if name not in ("time", "event")}
        return cls(str(stored.get("event", "")), values, _finite(stored.get("time")))

    def stored(self) -> dict[str, Any]:
        """As a line of events.jsonl."""
        return {**({} if self.time is None else {"time": self.time}), "event": self.kind, **self.values}

    @property
    def text(self) -> str:
        """What it says, as it may be shown; empty for one that only has other values."""
        return self.words("text")

    def words(self, key: str) -> str:
        """A value on one line, as it may be shown: see `one_line`; empty without one."""
        return one_line(self.values.get(key))

    def number(self, key: str, default: float | None = None) -> float | None:
        """A finite number; the default without one."""
        value = _finite(self.values.get(key))
        return default if value is None else value

    def whole(self, key: str, default: int = 0) -> int:
        """A whole number; the default without one."""
        return int(self.number(key, default) or 0)

    @property
    def answers(self) -> list[SampleAnswer]:
        """What the model answered to the fixed prompts: of an event of kind samples."""
        stored = self.values.get("answers")
        rows = [row for row in stored if isinstance(row, dict)] if isinstance(stored, list) else []
        texts = [[str(row.get(name) or "") for name in ("prompt", "text", "finish")] for row in rows]
        return [SampleAnswer(*row) for row in texts]


Watch = Callable[[Event], None]


def events_of(artifact: Artifact) -> Iterator[Event]:
    """All events of an artifact, in the order they happened; after a resume a step can stand twice, the later one
    counts.
    """
    return map(Event.of, artifact.events())


def one_line(value: object) -> str:
    """A value as text on one line, as it may be shown: no secret, and nothing that moves a cursor, turns the writing's
    direction or is as wide as each terminal pleases (joiners, selectors of a variant).
    """
    text = " ".join(ESCAPE.sub("", redact("" if value is None else str(value))).split())
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if unicodedata.category(char) not in UNFIT and char not in VARIANTS)


def _finite(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return value if abs(value) < float("inf") else None
