"""How an answer is sampled."""

from __future__ import annotations

from pydantic import Field

from twinctl.recipes.base import Options


class Sampling(Options):
    """Sampling of one answer. Greedy decoding is temperature 0."""

    max_new_tokens: int = Field(256, ge=1, description="the longest answer in tokens")
    temperature: float = Field(0.7, ge=0.0, description="0 is greedy: always the likeliest token")
    top_p: float = Field(0.95, gt=0.0, le=1.0, description="nucleus sampling: the smallest set with this probability")
    seed: int = Field(0, ge=0, description="the same seed and prompt give the same answer")
