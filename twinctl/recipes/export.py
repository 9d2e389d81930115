"""What `export` is asked to do: a merge, and one GGUF file for each quantisation."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from twinctl.recipes.base import Options, Recipe

Quant = Literal["f32", "f16", "bf16", "q8_0"]
QUANTS: tuple[str, ...] = get_args(Quant)


class MergeRecipe(Recipe):
    """The adapter merged into its base's weights, in 16 bit (the book's `merged_16bit`)."""

    precision: Literal["16bit"] = Field(default="16bit", description="the merged weights' precision")


class GgufRecipe(Recipe):
    """One GGUF file."""

    name: str = Field("twin", description="general.name inside the file and the file's name: the run's")
    quant: Quant = Field("q8_0", description="how the matrices are stored")


class ExportOptions(Options):
    """Which files `export --gguf` makes when no -q says so."""

    quant: tuple[Quant, ...] = Field(("q8_0",), min_length=1, description="the quantisations that --gguf makes")
