"""TRL's SFTConfig for a training, every argument explicit: Unsloth's GPU trainer has other defaults than TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.config.train import TrainRecipe


def sft_config(
    recipe: TrainRecipe,
    folder: Path,
    *,
    dtype: str,
    max_length: int,
    micro_batch: int,
    checkpointing: bool,
    library_packing: bool,
    save_steps: int,
    keep: int,
) -> Any:
    """The SFTConfig of a recipe on this device; checkpoints go to `folder`.

    `library_packing`: whether the library's own collator keeps the samples of our packed rows separate.
    """
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=recipe.batch_size // micro_batch,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        optim=recipe.optimizer,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        max_grad_norm=1.0,
        neftune_noise_alpha=recipe.neftune_alpha or None,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        gradient_checkpointing=checkpointing,
        max_length=max_length,
        packing=library_packing,
        packing_strategy="bfd",
        padding_free=False,
        pad_to_multiple_of=64 if library_packing else None,
        completion_only_loss=False,
        assistant_only_loss=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_drop_last=False,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=save_steps,
        save_total_limit=keep,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="no",
        disable_tqdm=True,
        report_to="none",
    )
