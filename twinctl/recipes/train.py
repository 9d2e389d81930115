"""What `train` is asked to do, and how it may use the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from twinctl.recipes.base import Options, Recipe

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainRecipe(Recipe):
    """Supervised fine-tuning. The defaults are the LLM Engineer's Handbook's (chapter 5, finetune.py)."""

    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="lora: 16-bit base; qlora: 4-bit base; full: every weight"
    )
    rank: int = Field(32, ge=1, le=4096, description="LoRA rank")
    alpha: int = Field(32, ge=1, description="LoRA alpha; the update is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="LoRA dropout")
    bias: Literal["none", "all", "lora_only"] = Field("none", description="which biases are trained")
    target_modules: tuple[str, ...] = Field(
        TARGET_MODULES, min_length=1, description="the linear layers that get an adapter"
    )
    learning_rate: float = Field(3e-4, gt=0.0, description="peak learning rate")
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "linear", description="how the learning rate falls"
    )
    warmup_steps: int = Field(10, ge=0, description="optimizer steps of linear warm-up")
    weight_decay: float = Field(0.01, ge=0.0, description="weight decay")
    optimizer: Literal["adamw_8bit", "adamw_torch_fused", "adamw_torch"] = Field("adamw_8bit", description="optimizer")
    batch_size: int = Field(16, ge=1, description="effective batch: rows an optimizer step learns from")
    epochs: float = Field(3.0, gt=0.0, description="passes over the rows")
    max_steps: int | None = Field(None, ge=1, description="stop after so many optimizer steps instead")
    packing: bool = Field(True, description="fill rows of the full length with several samples, kept apart")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 where the device has it, else float16"
    )
    seed: int = Field(0, ge=0, description="adapter initialisation and the order of rows")


class TrainOptions(Options):
    """How the machine is used. Changes speed and memory, never the result."""

    micro_batch: int = Field(
        2, ge=1, description="rows a forward pass holds; accumulation makes up the effective batch"
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", description="recompute activations to save memory; auto: on for a GPU, off for a CPU"
    )
    save_every: int = Field(50, ge=1, description="optimizer steps between checkpoints")
    keep: int = Field(2, ge=2, description="checkpoints kept; two at least, so that a torn one never is the last")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="cpu allows a large model on a CPU")
    tracking: Literal["auto", "comet", "comet-offline", "none"] = Field(
        "auto", description="auto: Comet ML when COMET_API_KEY is set"
    )
    project: str = Field("twinctl", min_length=1, description="the Comet project")


class TrainSettings(Options):
    """Recipe and options together, for the one rule that spans both."""

    recipe: TrainRecipe
    options: TrainOptions

    @model_validator(mode="after")
    def _splits_evenly(self) -> TrainSettings:
        if self.recipe.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.recipe.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        return self

    @property
    def micro_batch(self) -> int:
        """The forward pass's rows: never more than the effective batch."""
        return min(self.options.micro_batch, self.recipe.batch_size)

    @property
    def accumulation(self) -> int:
        """Forward passes an optimizer step sums over."""
        return self.recipe.batch_size // self.micro_batch
