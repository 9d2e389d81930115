"""A training's course, read from its events.

What must stay true: after a resume a step can stand twice and the later one counts; of a held-out prompt nothing is
shown that looks like an address, a number to call or a place on a machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from twinctl.pipeline.event import SampleAnswer, events_of
from twinctl.workspace.artifact import Artifact

# What of a held-out prompt or its answer is nobody's business: an e-mail, a link, a home folder, long numbers, tokens.
_PRIVATE = re.compile(
    r"\S@\S|https?:|www\.|(/home/|/Users/|/root\b|[A-Za-z]:\\)|\d[\d ./-]{5,}\d|\b(hf|sk|ghp)[-_]\w{8,}"
)
_LONGEST_PROMPT = 300


@dataclass(frozen=True)
class History:
    """Losses by step; `evaluations` begins with step 0, before training. `sample`: a held-out prompt and what the twin
    answered, greedily, when training ended; None where none is fit to show.
    """

    losses: list[tuple[int, float]] = field(default_factory=list)
    evaluations: dict[int, float] = field(default_factory=dict)
    sample: SampleAnswer | None = None

    @classmethod
    def read(cls, training: Artifact, best_step: int | None = None) -> History:
        """That of a training, with an answer given at that step, else at the last."""
        losses: dict[int, float] = {}
        evaluations: dict[int, float] = {}
        answers: dict[int, list[SampleAnswer]] = {}
        for event in events_of(training):
            step = event.whole("step")
            if event.kind == "step" and (loss := event.number("loss")) is not None:
                losses[step] = float(loss)
            elif event.kind == "evaluation" and (loss := event.number("eval_loss")) is not None:
                evaluations[step] = float(loss)
            elif event.kind == "samples":
                answers[step] = event.answers
        last = best_step or max(answers, default=0)
        return cls(sorted(losses.items()), dict(sorted(evaluations.items())), _shown(answers.get(last, [])))


def _shown(answers: list[SampleAnswer]) -> SampleAnswer | None:
    """The first that ended by itself and is fit to show, else the first that is."""
    fit = [
        answer
        for answer in answers
        if answer.prompt.strip() and answer.text.strip() and len(answer.prompt) <= _LONGEST_PROMPT
        if not _PRIVATE.search(f"{answer.prompt}\n{answer.text}")
    ]
    return min(fit, key=lambda answer: answer.finish != "stop", default=None)
