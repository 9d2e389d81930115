"""What `push` is asked to do: one kind of result to one repository."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from twinctl.config.recipe import Options, Recipe

PushKind = Literal["model", "adapter", "gguf"]


class PushRecipe(Recipe):
    """Where the files go."""

    repo: str = Field(description="OWNER/NAME on the Hub")
    kind: PushKind = Field("model", description="model (merged, 16 bit), adapter, or gguf (all quantisations)")
    revision: str | None = Field(None, description="a branch, made if need be; None: main")
    pull_request: bool = Field(False, description="open a pull request instead of changing the branch")


class PushOptions(Options):
    """How it is sent."""

    public: bool = Field(False, description="make a new repository public")
    message: str = Field("", description="the commit's message")
    progress: bool = Field(False, description="draw the client's progress bars")
