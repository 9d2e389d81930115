"""How an answer is sampled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from twinctl.config.recipe import Flag, Options

SAMPLING = "Sampling"


class Sampling(Options):
    """Sampling of one answer. Greedy decoding is temperature 0.

    The defaults keep a small tuned model on its way: `min_p` takes out the unlikely words on which it derails, and a
    flat distribution keeps its variety. There is no repetition penalty, since it falls on “the” and the comma first,
    which are what an author's style is made of.
    """

    max_new_tokens: Annotated[int, Flag(SAMPLING)] = Field(256, ge=1, description="the longest answer in tokens")
    temperature: Annotated[float, Flag(SAMPLING)] = Field(
        0.7, ge=0.0, description="0 is greedy: always the likeliest token"
    )
    top_p: Annotated[float, Flag(SAMPLING)] = Field(
        0.95, gt=0.0, le=1.0, description="nucleus sampling: the smallest set with this probability"
    )
    top_k: Annotated[int, Flag(SAMPLING)] = Field(0, ge=0, description="only the likeliest so many tokens; 0: all")
    min_p: Annotated[float, Flag(SAMPLING)] = Field(
        0.05, ge=0.0, le=1.0, description="only tokens with this part of the likeliest one's chance"
    )
    repetition_penalty: Annotated[float, Flag(SAMPLING)] = Field(
        1.0, gt=0.0, description="above 1: tokens that occurred are less likely; 1: no penalty"
    )
    seed: Annotated[int, Flag(SAMPLING)] = Field(0, ge=0, description="the same seed and prompt give the same answer")
    stop: Annotated[tuple[str, ...], Flag(SAMPLING, takes="TEXT")] = Field(
        (), description="texts at which an answer ends; they are not part of it"
    )
    system: Annotated[str, Flag(SAMPLING)] = Field(
        "", description="the system message before a conversation; empty: none"
    )
