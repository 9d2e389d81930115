"""What a training's events tell so far: the curves, the pace, what is left, and what is to be noticed.

What must stay true: the same whether events come one by one or a whole history at once; a step done twice counts
once, the later time; a key that is missing or of another kind is no error; every text kept here is fit to be shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from twinctl.pipeline.event import Event, one_line
from twinctl.pipeline.watch import STOPPING

# Steps over which the recent pace is taken.
RECENT = 20
NOTICES = 20


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
        self.facts, self.latest = Event("facts"), Event("step")
        self.has_begun = False
        self.step = self.steps = 0
        self.attempt = 1
        self.checkpoint: int | None = None
        self.stage = ""
        self.is_stopping = False
        self._is_first, self._told_at = True, 0.0
        self._pauses: dict[str, float] = {}

    def handle(self, event: Event, now: float) -> None:
        """Take in one event; `now` counts for one that does not say its time."""
        match event.kind:
            case "attempt":
                self.attempt = event.whole("attempt") or 1
                self.stage, self.is_stopping, self._is_first = "", False, True
            case "stage":
                self.stage = event.text
                self.is_stopping = self.is_stopping or self.stage.startswith(STOPPING)
            case "facts":
                self.facts = event
            case "begin":
                self._go_back_to(event.whole("step"))
                self.steps, self._is_first = event.whole("steps") or self.steps, True
            case "step":
                self._add_step(event)
            case "evaluation":
                if (loss := event.number("eval_loss")) is not None:
                    self.evaluations[event.whole("step")] = loss
            case "samples":
                self.samples, self.samples_step = samples_of(event), event.whole("step")
            case "checkpoint":
                self.checkpoint = event.whole("step")
            case "tracking" | "warning" | "retry" | "cut":
                self._notice(event)
        if event.kind in ("evaluation", "samples") and (seconds := event.number("seconds")) is not None:
            self._pauses[event.kind] = seconds  # a resumed training repeats the base's score without measuring it
        if event.kind in ("begin", "step", "evaluation", "samples") and not self.is_stopping:
            self.stage = ""
        if event.kind in ("begin", "step"):
            self.has_begun = True
            self._told_at = event.time or now

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

    def _add_step(self, event: Event) -> None:
        step = event.whole("step")
        self._go_back_to(step - 1)
        self.step, self.steps = step, event.whole("steps") or self.steps
        self.latest = event
        loss = event.number("loss")
        if loss is not None:
            tokens, seconds = event.number("tokens") or 0.0, event.number("seconds") or 0.0
            self.points.append(Point(step, loss, tokens, seconds, self._is_first))
        self._is_first = False

    def _go_back_to(self, step: int) -> None:
        """Forget what comes behind: it is done again."""
        while self.points and self.points[-1].step > step:
            self.points.pop()
        if any(each > step for each in self.evaluations):
            self.evaluations = {each: loss for each, loss in self.evaluations.items() if each <= step}
        if self.checkpoint is not None and self.checkpoint > step:
            self.checkpoint = None
        self.step = step

    def _notice(self, event: Event) -> None:
        """Keep what an event has to say to a person: the newest last, none twice."""
        text = event.words("warning") if event.kind == "tracking" else event.text
        text = cut_text(event) if event.kind == "cut" else text
        if text:
            self.notices = [*(notice for notice in self.notices if notice != text), text][-NOTICES:]


def samples_of(event: Event) -> list[Sample]:
    """A `samples` event's prompts and answers; one that was cut off by its length ends in dots."""
    return [
        Sample(one_line(answer.prompt), one_line(answer.text) + (" …" if answer.finish == "length" else ""))
        for answer in event.answers
    ]


def cut_text(event: Event) -> str:
    """A `cut` event in words."""
    step, steps = event.whole("step") or event.whole("max_steps"), event.whole("steps")
    where = f" at step {step}" if step else ""
    return f"out of time: it ends{where}{f' of {steps}' if step and steps else ''}"
