"""What `prepare` is asked to do, and where its model and data are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from twinctl.recipes.base import Options, Recipe


class PrepareRecipe(Recipe):
    """How rows become tokens. The model's tokenizer and the data enter the fingerprint by content, beside these
    fields.
    """

    template: Literal["alpaca"] = Field("alpaca", description="the prompt's form; EOS follows every answer")
    max_length: int = Field(2048, ge=16, description="longest sample in tokens; longer ones are dropped and counted")
    eval_fraction: float = Field(0.05, ge=0.0, lt=1.0, description="the share of rows held out of training")
    seed: int = Field(0, ge=0, description="decides which rows are held out")
    map: tuple[str, ...] = Field((), description="columns by other names: instruction=question, output=answer")


class PrepareOptions(Options):
    """Where the model and the data are: a path, a hub id, or a bundled name. Not hashed: their content is."""

    model: str = Field(description="the base model: a folder, a Hub id (hf:OWNER/NAME forces it), or bundled:base")
    revision: str | None = Field(None, description="the base model's branch, tag or commit on the Hub")
    data: tuple[str, ...] = Field((), description="the author's rows: JSONL files, or OWNER/NAME:SPLIT on the Hub")
    general: tuple[str, ...] = Field(
        (), description="general rows mixed in, so that the twin keeps following instructions"
    )
