"""What `push` is asked to do: one kind of result to one repository."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from twinctl.config.recipe import Flag, Options, Recipe

PushKind = Literal["model", "adapter", "gguf"]

TARGET = "Where it goes"


class PushRecipe(Recipe):
    """Where the files go."""

    repo: str = Field(description="OWNER/NAME on the Hub")
    kind: PushKind = Field("model", description="model (merged, 16 bit), adapter, or gguf (all quantisations)")
    revision: Annotated[str | None, Flag(TARGET, takes="BRANCH")] = Field(
        None, description="a branch, created if it does not exist; unset: main"
    )
    pull_request: Annotated[bool, Flag(TARGET, ("--pr",))] = Field(
        False, description="open a pull request instead of changing the branch"
    )


class PushOptions(Options):
    """How it is sent."""

    public: Annotated[bool, Flag(TARGET, ("--public",))] = Field(False, description="make a new repository public")
    message: Annotated[str, Flag(TARGET, ("--message", "-m"))] = Field("", description="the commit's message")
    progress: bool = Field(False, description="draw the client's progress bars")
