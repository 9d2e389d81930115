"""What `export` is asked to do: a merge, and one GGUF file for each quantisation."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from twinctl.config.recipe import Flag, Options, Recipe

Quant = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]
QUANTS: tuple[str, ...] = get_args(Quant)
Precision = Literal["16bit", "4bit"]

FILES = "Files"


class MergeRecipe(Recipe):
    """The adapter merged into its base's weights, in 16 bit (the book's `merged_16bit`)."""

    precision: Literal["16bit"] = Field(default="16bit", description="the merged weights' precision")


class Merge4bitRecipe(Recipe):
    """The merged model with its matrices rounded to 4 bit (the book's library calls it `merged_4bit`)."""

    precision: Literal["4bit"] = Field(default="4bit", description="the matrices' precision")


class GgufRecipe(Recipe):
    """One GGUF file."""

    name: str = Field("twin", description="general.name inside the file and the file's name: the run's")
    quant: Quant = Field("q4_k_m", description="how the matrices are stored")


class ProofOptions(Options):
    """How a merge or a GGUF file is made; it is the same file, proven or not."""

    verify: bool = Field(True, description="prove that the file is the model that was trained before it gets its name")


class ExportOptions(Options):
    """Which files `export --merged` and `--gguf` make when none are named."""

    precision: Annotated[tuple[Precision, ...], Flag(FILES, ("--merged",))] = Field(
        ("16bit",), min_length=1, description="the merged models that --merged makes"
    )
    quant: Annotated[tuple[Quant, ...], Flag(FILES, ("--quant", "-q"), takes=f"[{'|'.join(QUANTS)}]")] = Field(
        ("q4_k_m",), min_length=1, description="the quantizations of GGUF files; repeatable; means --gguf"
    )
