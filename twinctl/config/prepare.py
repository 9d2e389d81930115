"""What `prepare` is asked to do, and where its model and data are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from twinctl.config.recipe import Flag, Options, Recipe

DATA, MODEL, SAMPLES = "Data", "Base model", "Samples"


class DataSource(BaseModel):
    """One source of rows: a text on the command line, a `[[prepare.data]]` table in twinctl.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="a file, a folder, a glob, - for standard input, or a Hub data set")
    split: str | None = Field(None, description="of a Hub data set: train, train[:10000], … (default train)")
    revision: str | None = Field(None, description="of a Hub data set: branch, tag or commit")
    limit: int | None = Field(None, ge=1, description="take the first so many rows")
    weight: float = Field(1.0, gt=0, le=100, description="how often each training row stands in the result")
    map: tuple[str, ...] = Field((), description="columns by other names, in addition to those for all sources")


def _from_text(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


Sources = tuple[Annotated[DataSource, BeforeValidator(_from_text)], ...]


class PrepareRecipe(Recipe):
    """How rows become tokens. The model's tokenizer, the template's text and the data enter the fingerprint by
    content, together with these fields.
    """

    template: Annotated[Literal["alpaca", "chatml", "llama3", "model"], Flag(SAMPLES)] = Field(
        "alpaca", description="the prompt's form, or model for the base model's own; EOS follows every answer"
    )
    max_length: Annotated[int, Flag(SAMPLES)] = Field(2048, ge=16, description="longest sample in tokens")
    overlong: Annotated[Literal["drop", "truncate", "split"], Flag(SAMPLES)] = Field(
        "drop", description="what happens to longer samples; each still ends with EOS and is counted"
    )
    loss: Annotated[Literal["all", "completion"], Flag(SAMPLES)] = Field(
        "all", description="learn every token (the book's way), or the answers only"
    )
    text_as: Annotated[Literal["passages", "raw"], Flag(SAMPLES)] = Field(
        "passages", description="plain writing as questions for its passages, or as it is, for continued pretraining"
    )
    dedupe: Annotated[Literal["exact", "near", "none"], Flag(DATA)] = Field(
        "exact", description="which repeated rows are dropped"
    )
    skip_bad: Annotated[bool, Flag(DATA, ("--skip-bad",))] = Field(
        False, description="skip rows that cannot be read, and count them"
    )
    general_rows: Annotated[
        Annotated[int, Field(ge=0)] | Literal["ratio"], Flag(DATA, ("--general",), takes="[ratio|INTEGER]")
    ] = Field("ratio", description="at most so many general rows; ratio is the book's, 10 for 3 of the author's")
    eval_fraction: Annotated[float, Flag(SAMPLES)] = Field(
        0.05, ge=0.0, lt=1.0, description="the share of rows held out of training"
    )
    seed: Annotated[int, Flag(SAMPLES)] = Field(0, ge=0, description="decides which rows are held out")
    map: Annotated[tuple[str, ...], Flag(DATA, takes="NAME=COLUMN")] = Field(
        (), description="columns by other names: instruction=question, output=answer"
    )


class PrepareOptions(Options):
    """Where the model and the data are: a path, a hub id, or a bundled name. Not hashed: their content is."""

    model: Annotated[str, Flag(MODEL, takes="FOLDER_OR_ID")] = Field(
        description="the base model: a folder, a Hub id (hf:OWNER/NAME forces it), or bundled:base"
    )
    revision: Annotated[str | None, Flag(MODEL)] = Field(
        None, description="the base model's branch, tag or commit on the Hub"
    )
    data: Annotated[Sources, Flag(DATA, ("--data", "-d"), takes="SOURCE")] = Field(
        (), description="the author's rows: files, folders, globs, or OWNER/NAME:SPLIT on the Hub"
    )
    general: Sources = Field((), description="general rows mixed in, so that the twin keeps following instructions")
