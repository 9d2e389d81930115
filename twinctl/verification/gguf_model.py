"""The output of a GGUF file, by llama.cpp.

What must stay true: the file gets the very ids that the trained model got, and at least one slice of the first row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinctl.gguf.runtime import Llama
from twinctl.pipeline.phase import ReportProgress
from twinctl.verification.reference import GreedyAnswers, Ids, ModelOutput, Reference, at


def ask_gguf_file(file: Path, reference: Reference, /, *, seconds: float, progress: ReportProgress) -> ModelOutput:
    """Ask a GGUF file what the reference was asked. What `seconds` do not suffice for is left out."""
    began = time.monotonic()
    with closing(Llama(file)) as llama:
        positions, limit, prompts = len(reference.top), 2 * reference.limit, reference.prompts
        total = positions + limit * len(prompts)  # tokens, of which each takes about as long
        log_probs, best = _distributions(
            llama, reference, began + 0.6 * seconds, progress=lambda done: progress(done, total)
        )
        answers = llama.greedy(
            prompts,
            limit,
            began + seconds,
            progress=lambda longest: progress(positions + longest * len(prompts), total),
        )
        progress(total, total)
        return ModelOutput(
            log_probs=log_probs,
            best=best,
            answers=GreedyAnswers(
                [answer.ids for answer in answers],
                [answer.ended for answer in answers],
                [answer.cut for answer in answers],
            ),
            probe_ids=[llama.tokenize(probe.text, special=probe.special) for probe in reference.probes],
            stop_ids={"llama.cpp": [token for token in reference.stops if llama.ends(token)]},
        )


def _distributions(
    llama: Llama, reference: Reference, deadline: float, progress: Callable[[int], None]
) -> tuple[NDArray[np.float64], Ids]:
    """Log-probabilities at the reference's tokens, and the best token, position by position while there is time."""
    log_probs, best, start = [], [], 0
    for logits in (part for row in reference.rows for part in llama.logits(row)):
        at_top, likeliest = at(logits, reference.top[start : start + len(logits)])
        log_probs.append(at_top)
        best.append(likeliest)
        start += len(logits)
        progress(start)
        if time.monotonic() > deadline:
            break
    return np.concatenate(log_probs), np.concatenate(best)
