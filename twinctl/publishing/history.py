"""A training's course, read from its events.

What must stay true: after a resume a step can stand twice and the later one counts; of a held-out prompt nothing is
shown that looks like an address, a number to call or a place on a machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from twinctl.workspace.artifact import Artifact, Record

# What of a held-out prompt or its answer is nobody's business: an e-mail, a link, a home folder, long numbers, tokens.
_PRIVATE = re.compile(
    r"\S@\S|https?:|www\.|(/home/|/Users/|/root\b|[A-Za-z]:\\)|\d[\d ./-]{5,}\d|\b(hf|sk|ghp)[-_]\w{8,}"
)
_LONGEST_PROMPT = 300


@dataclass(frozen=True)
class HeldOutAnswer:
    """A held-out prompt and what the twin answered, greedily, when training ended."""

    prompt: str
    text: str


@dataclass(frozen=True)
class History:
    """Losses by step; `evaluations` begins with step 0, before training. `sample` is None where none is fit to show."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    evaluations: dict[int, float] = field(default_factory=dict)
    sample: HeldOutAnswer | None = None

    @classmethod
    def read(cls, training: Artifact, record: Record) -> History:
        """That of a finished training."""
        losses: dict[int, float] = {}
        evaluations: dict[int, float] = {}
        answers: dict[int, list[dict[str, Any]]] = {}
        for event in training.events():
            step = event.get("step")
            if event["event"] == "step" and isinstance(event.get("loss"), int | float):
                losses[int(step or 0)] = float(event["loss"])
            elif event["event"] == "evaluation" and isinstance(event.get("eval_loss"), int | float):
                evaluations[int(step or 0)] = float(event["eval_loss"])
            elif event["event"] == "samples":
                answers[int(step or 0)] = list(event.get("answers", ()))
        last = record.metrics.get("best_step") or max(answers, default=0)
        return cls(sorted(losses.items()), dict(sorted(evaluations.items())), _shown(answers.get(last, [])))


def _shown(answers: list[dict[str, Any]]) -> HeldOutAnswer | None:
    """The first that ended by itself and is fit to show, else the first that is."""
    fit = []
    for answer in answers:
        prompt, text = str(answer.get("prompt", "")), str(answer.get("text", ""))
        is_whole = bool(prompt.strip() and text.strip()) and len(prompt) <= _LONGEST_PROMPT
        if is_whole and not _PRIVATE.search(f"{prompt}\n{text}"):
            fit.append(answer)
    best = sorted(fit, key=lambda answer: answer.get("finish") != "stop")
    return HeldOutAnswer(best[0]["prompt"], best[0]["text"]) if best else None
