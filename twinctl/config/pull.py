"""What brings a pushed twin back: the tokens' template as a result of its own."""

from __future__ import annotations

from pydantic import Field

from twinctl.config.recipe import Recipe


class TemplateRecipe(Recipe):
    """The form in which a pulled twin was trained; its rows stayed where they were."""

    template: str = Field(description="the template's name")
    max_length: int = Field(description="longest sample in tokens")
