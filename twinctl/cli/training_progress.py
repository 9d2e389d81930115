"""What a training's events tell so far: the curves, the pace, what is left, and what is to be noticed.

What must stay true: the same whether events come one by one or a whole history at once; a step done twice counts
once, the later time; a key that is missing or of another kind is no error; every text kept here is fit to be shown.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from twinctl.config.secrets import redact
from twinctl.pipeline.watch import STOPPING

# Steps over which the recent pace is taken.
RECENT = 20
NOTICES = 20
UNFIT, VARIANTS = ("Cc", "Cf", "Cs"), "\ufe0e\ufe0f"
# What a terminal would obey: a colour, a title, a move.
ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


class Point(NamedTuple):
    """A step that was done: its loss, and the training's tokens and seconds up to its end, all attempts together."""

    step: int
    loss: float
    tokens: float
    seconds: float
    # The first of an attempt also pays for warming up, so that it says nothing of the pace.
    is_first: bool


@dataclass(frozen=True)
class Sample:
    """What the model answered to a fixed prompt."""

    prompt: str
    text: str


class Training:
    """Told event by event; the rest is to be read."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.evaluations: dict[int, float] = {}
        self.samples: list[Sample] = []
        self.samples_step = 0
        self.notices: list[str] = []
        self.facts: dict[str, Any] = {}
        self.latest: dict[str, Any] = {}
        self.has_begun = False
        self.step = self.steps = 0
        self.attempt = 1
        self.checkpoint: int | None = None
        self.stage = ""
        self.is_stopping = False
        self._is_first, self._told_at = True, 0.0
        self._pauses: dict[str, float] = {}

    def handle(self, event: dict[str, Any], now: float) -> None:
        """Take in one event; `now` counts for one that does not say its time."""
        handle = getattr(self, f"_on_{event.get('event')}", None)
        if handle:
            handle(event)
        if event.get("event") in ("begin", "step"):
            self.has_begun = True
            self._told_at = number(event, "time", now) or now

    def pace(self) -> tuple[float, float] | None:
        """Seconds a step and tokens a second, of late; None before the first step."""
        recent = self.points[-RECENT - 1 :]
        pairs = [(a, b) for a, b in pairwise(recent) if not b.is_first and b.seconds > a.seconds]
        steps = sum(b.step - a.step for a, b in pairs)
        seconds = sum(b.seconds - a.seconds for a, b in pairs)
        if not pairs:
            if not recent or recent[-1].seconds <= 0:
                return None
            steps, seconds, tokens = recent[-1].step, recent[-1].seconds, recent[-1].tokens
            return seconds / max(steps, 1), tokens / seconds
        return seconds / max(steps, 1), sum(b.tokens - a.tokens for a, b in pairs) / seconds

    def overall(self) -> float | None:
        """Tokens a second over all of it."""
        last = self.points[-1] if self.points else None
        return last.tokens / last.seconds if last and last.seconds > 0 else None

    def left(self, now: float) -> float | None:
        """Seconds until the last step, by the recent pace and the pauses for evaluation; None when nobody can know."""
        pace = self.pace()
        if pace is None or not self.steps:
            return None
        gone = min(max(now - self._told_at, 0.0), pace[0])  # of the step that is being done
        return max(pace[0] * (self.steps - self.step) - gone, 0.0) + self._pauses_to_come()

    @property
    def is_settled(self) -> bool:
        """Whether its time can be told: there are steps to come, and more than the first, slow one is done."""
        return self.step < self.steps and (len(self.points) > 1 or self.step > 1)

    def _pauses_to_come(self) -> float:
        done = sorted(step for step in self.evaluations if step > 0)
        if not done:
            return 0.0
        between = done[-1] - done[-2] if len(done) > 1 else done[-1]
        return (self.steps - done[-1]) // between * sum(self._pauses.values())

    def _on_attempt(self, event: dict[str, Any]) -> None:
        self.attempt = int(number(event, "attempt") or 1)
        self.stage, self.is_stopping, self._is_first = "", False, True

    def _on_stage(self, event: dict[str, Any]) -> None:
        self.stage = shown(event.get("text"))
        self.is_stopping = self.is_stopping or self.stage.startswith(STOPPING)

    def _on_facts(self, event: dict[str, Any]) -> None:
        self.facts = event

    def _on_begin(self, event: dict[str, Any]) -> None:
        self._go_back_to(int(number(event, "step") or 0))
        self.steps = int(number(event, "steps") or self.steps)
        self._is_first = True
        self._leave_stage()

    def _on_step(self, event: dict[str, Any]) -> None:
        step = int(number(event, "step") or 0)
        self._go_back_to(step - 1)
        self.step, self.steps = step, int(number(event, "steps") or self.steps)
        self.latest = event
        loss = number(event, "loss")
        if loss is not None:
            tokens, seconds = number(event, "tokens") or 0.0, number(event, "seconds") or 0.0
            self.points.append(Point(step, loss, tokens, seconds, self._is_first))
        self._is_first = False
        self._leave_stage()

    def _go_back_to(self, step: int) -> None:
        """Forget what comes behind: it is done again."""
        while self.points and self.points[-1].step > step:
            self.points.pop()
        if any(each > step for each in self.evaluations):
            self.evaluations = {each: loss for each, loss in self.evaluations.items() if each <= step}
        if self.checkpoint is not None and self.checkpoint > step:
            self.checkpoint = None
        self.step = step

    def _leave_stage(self) -> None:
        if not self.is_stopping:
            self.stage = ""

    def _on_evaluation(self, event: dict[str, Any]) -> None:
        loss = number(event, "eval_loss")
        if loss is not None:
            self.evaluations[int(number(event, "step") or 0)] = loss
        self._keep_pause("evaluation", event)
        self._leave_stage()

    def _on_samples(self, event: dict[str, Any]) -> None:
        self.samples = samples_of(event)
        self.samples_step = int(number(event, "step") or 0)
        self._keep_pause("samples", event)
        self._leave_stage()

    def _keep_pause(self, what: str, event: dict[str, Any]) -> None:
        seconds = number(event, "seconds")
        if seconds is not None:  # a resumed training repeats what its base scored, without having measured it again
            self._pauses[what] = seconds

    def _on_checkpoint(self, event: dict[str, Any]) -> None:
        self.checkpoint = int(number(event, "step") or 0)

    def _on_tracking(self, event: dict[str, Any]) -> None:
        if event.get("warning"):
            self._notice(event["warning"])

    def _on_warning(self, event: dict[str, Any]) -> None:
        self._notice(event.get("text"))

    _on_retry = _on_warning

    def _on_cut(self, event: dict[str, Any]) -> None:
        self._notice(cut_text(event))

    def _notice(self, text: object) -> None:
        """The newest last, none twice."""
        line = shown(text)
        self.notices = [*(each for each in self.notices if each != line), line][-NOTICES:]


def number(event: dict[str, Any], key: str, default: float | None = None) -> float | None:
    """The event's finite number; the default without one."""
    value = event.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return default
    return value if abs(value) < float("inf") else default


def samples_of(event: dict[str, Any]) -> list[Sample]:
    """A `samples` event's prompts and answers; one that was cut off by its length ends in dots."""
    answers = event.get("answers")
    items = [each for each in answers if isinstance(each, dict)] if isinstance(answers, list) else []
    dots = [" …" if each.get("finish") == "length" else "" for each in items]
    return [
        Sample(shown(each.get("prompt")), shown(each.get("text")) + more)
        for each, more in zip(items, dots, strict=True)
    ]


def cut_text(event: dict[str, Any]) -> str:
    """A `cut` event in words."""
    step = number(event, "step") or number(event, "max_steps")
    steps = number(event, "steps")
    where = f" at step {step:.0f}" if step else ""
    return f"out of time: it ends{where}{f' of {steps:.0f}' if step and steps else ''}"


def shown(text: object) -> str:
    """Text on one line, as it may be shown: no secret, and nothing that moves a cursor, turns the writing's direction
    or is as wide as each terminal pleases (joiners, selectors of a variant).
    """
    clean = " ".join(ESCAPE.sub("", redact("" if text is None else str(text))).split())
    if clean.isascii() and clean.isprintable():
        return clean
    return "".join(char for char in clean if unicodedata.category(char) not in UNFIT and char not in VARIANTS)
