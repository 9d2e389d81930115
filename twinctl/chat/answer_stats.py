"""The figures after an answer: how long it is, how fast it came, and why it ended."""

from __future__ import annotations

from twinctl.config.sampling import Sampling
from twinctl.inference.chat_model import Answer


def answer_stats(answer: Answer, sampling: Sampling) -> str:
    """The answer's figures in brackets; its seed too, if it is not the one of `sampling`."""
    tokens = f"{answer.tokens} token{'' if answer.tokens == 1 else 's'}"
    if answer.tokens < sampling.max_new_tokens:
        cut = f"the window of {answer.prompt_tokens + answer.tokens} tokens is full"
    else:
        cut = f"cut at {tokens}"
    ended = {"stop": "ended by itself", "length": cut, "interrupted": "stopped"}[answer.finish]
    seed = f", seed {answer.seed}" if answer.seed != sampling.seed else ""
    nothing = "" if answer.text.strip() else "nothing was said: "
    return f"[{nothing}{tokens}, {answer.tokens_per_second:.1f} tokens/s, {ended}{seed}]"
