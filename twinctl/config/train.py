"""What `train` is asked to do, and how it may use the machine."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from twinctl.config.recipe import Flag, Options, Recipe

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

WHAT, HOW, LOOK, MACHINE = "What is trained", "How", "When to look and save", "Memory and device"


class TrainRecipe(Recipe):
    """Supervised fine-tuning. The defaults are the LLM Engineer's Handbook's (chapter 5, finetune.py)."""

    method: Annotated[Literal["lora", "qlora", "full"], Flag(WHAT)] = Field(
        "lora", description="lora: 16-bit base; qlora: 4-bit base; full: every weight"
    )
    rank: Annotated[int, Flag(WHAT, ("--rank", "-r"))] = Field(32, ge=1, le=4096, description="LoRA rank")
    alpha: Annotated[int, Flag(WHAT)] = Field(32, ge=1, description="LoRA alpha; the update is scaled by alpha / rank")
    dropout: Annotated[float, Flag(WHAT)] = Field(0.0, ge=0.0, lt=1.0, description="LoRA dropout")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="which biases are trained")
    target_modules: Annotated[tuple[str, ...], Flag(WHAT, takes="NAME")] = Field(
        TARGET_MODULES, min_length=1, description="the linear layers that get an adapter"
    )
    rslora: Annotated[bool, Flag(WHAT)] = Field(
        False, description="scale the update by alpha / √rank, for high ranks (arXiv:2312.03732)"
    )
    dora: Annotated[bool, Flag(WHAT)] = Field(
        False, description="train magnitude and direction of the weights separately (arXiv:2402.09353)"
    )
    neftune_alpha: Annotated[float, Flag(HOW)] = Field(
        0.0, ge=0.0, description="noise on the embeddings, 5 to 15 (arXiv:2310.05914); 0: none"
    )
    learning_rate: Annotated[float, Flag(HOW, ("--lr",))] = Field(3e-4, gt=0.0, description="peak learning rate")
    scheduler: Annotated[Literal["linear", "cosine", "constant", "constant_with_warmup"], Flag(HOW)] = Field(
        "linear", description="how the learning rate falls"
    )
    warmup_steps: Annotated[int, Flag(HOW)] = Field(10, ge=0, description="optimizer steps of linear warm-up")
    weight_decay: Annotated[float, Flag(HOW)] = Field(0.01, ge=0.0, description="weight decay")
    optimizer: Annotated[Literal["adamw_8bit", "adamw_torch_fused", "adamw_torch"], Flag(HOW)] = Field(
        "adamw_8bit", description="optimizer"
    )
    batch_size: Annotated[int, Flag(HOW)] = Field(
        16, ge=1, description="effective batch: rows an optimizer step learns from"
    )
    epochs: Annotated[float, Flag(HOW)] = Field(3.0, gt=0.0, description="passes over the rows")
    max_steps: Annotated[int | None, Flag(HOW)] = Field(
        None, ge=1, description="stop after so many optimizer steps instead"
    )
    packing: Annotated[bool, Flag(HOW)] = Field(
        True, description="fill rows of the full length with several samples, which do not see each other"
    )
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], Flag(HOW)] = Field(
        "auto", description="auto: bfloat16 where the device has it, else float16"
    )
    seed: Annotated[int, Flag(HOW)] = Field(0, ge=0, description="adapter initialisation and the order of rows")
    best: Annotated[bool, Flag(LOOK, ("--best/--last",))] = Field(
        False, description="keep the weights of the lowest eval loss instead of the last"
    )
    patience: Annotated[int | None, Flag(LOOK)] = Field(
        None, ge=1, description="end after so many evaluations without a lower eval loss"
    )
    choose_every: Annotated[float, Flag(LOOK)] = Field(
        0.1, gt=0.0, description="steps between the evaluations by which best and patience choose; below 1, a fraction"
    )
    stop_at: int | None = Field(None, ge=1, description="end after this step of the schedule, as --max-time does")

    def steps(self, rows: int) -> tuple[int, int]:
        """Optimizer steps in all and per epoch, for so many rows (packed ones, when packing)."""
        an_epoch = max(math.ceil(rows / self.batch_size), 1)
        return self.max_steps or math.ceil(an_epoch * self.epochs), an_epoch


def seconds_of(text: Any) -> Any:
    """A span of time as people type it, in seconds: 90, 45m, 1h30m. Raises ValueError for another text."""
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not found or not any(found.groups()):
        raise ValueError("a time is like 45m, 1h30m, or a number of seconds")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


class TrainOptions(Options):
    """How the machine is used. Changes speed and memory, never the result."""

    micro_batch: Annotated[Annotated[int, Field(ge=1)] | Literal["auto"], Flag(MACHINE, takes="[auto|INTEGER]")] = (
        Field("auto", description="rows a forward pass holds; accumulation makes up the effective batch")
    )
    gradient_checkpointing: Annotated[Literal["auto", "on", "off"], Flag(MACHINE)] = Field(
        "auto", description="recompute activations to save memory; auto: only where they would not fit"
    )
    memory_limit: Annotated[float | None, Flag(MACHINE, takes="GIB")] = Field(
        None, gt=0.0, description="use no more of the GPU's memory than this, in GiB"
    )
    max_time: Annotated[float | None, BeforeValidator(seconds_of), Flag(LOOK, takes="TIME")] = Field(
        None, gt=0.0, description="stop in time, with an adapter to use: 45m, 1h30m, or seconds"
    )
    eval_every: Annotated[float, Flag(LOOK)] = Field(
        0.1, gt=0.0, description="steps between evaluations to look at; below 1, a fraction of all steps"
    )
    samples: Annotated[int, Flag(LOOK)] = Field(
        3, ge=0, le=16, description="held-out prompts answered at each evaluation, to read"
    )
    save_every: Annotated[float, Flag(LOOK)] = Field(
        50, gt=0.0, description="steps between checkpoints; below 1, a fraction of all steps"
    )
    keep: Annotated[int, Flag(LOOK)] = Field(
        2, ge=2, description="checkpoints kept; two at least, so that a damaged one is never the only one"
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], Flag(MACHINE)] = Field(
        "auto", description="cpu allows a large model on a CPU"
    )
    tracking: Annotated[Literal["auto", "comet", "comet-offline", "none"], Flag(LOOK)] = Field(
        "auto", description="auto: Comet ML when COMET_API_KEY is set"
    )
    project: str = Field("twinctl", min_length=1, description="the Comet project")


class TrainSettings(Options):
    """Recipe and options together, for the one rule that spans both."""

    recipe: TrainRecipe
    options: TrainOptions

    @model_validator(mode="after")
    def _splits_evenly(self) -> TrainSettings:
        size = self.options.micro_batch
        if size != "auto" and self.recipe.batch_size % min(size, self.recipe.batch_size):
            raise ValueError(f"batch_size {self.recipe.batch_size} is not a multiple of micro_batch {size}")
        return self

    @property
    def evaluate_every(self) -> float:
        """Between evaluations: what the recipe says where something is chosen by them, else as one likes to look."""
        chosen = self.recipe.best or self.recipe.patience is not None
        return self.recipe.choose_every if chosen else self.options.eval_every

    @property
    def micro_batches(self) -> list[int]:
        """The micro-batches to choose from, smallest first: the one asked for, else all that divide the batch."""
        batch, size = self.recipe.batch_size, self.options.micro_batch
        if size != "auto":
            return [min(size, batch)]
        return [rows for rows in range(1, batch + 1) if batch % rows == 0]


def every(interval: float, steps: int) -> int:
    """An interval in steps: below 1 it is a fraction of all `steps`; at least one step."""
    return max(round(interval * steps if interval < 1 else interval), 1)
