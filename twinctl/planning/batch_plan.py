"""How the effective batch is split to fit this device: micro-batch, accumulation and gradient checkpointing.

What must stay true: the split changes speed and memory, not what is learnt; what was asked for is kept to as long as
memory allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.config.train import TrainOptions, TrainSettings
from twinctl.planning.memory import Choice, choose
from twinctl.planning.model_shape import ModelShape
from twinctl.wording import GIB


def fit(settings: TrainSettings, base: Path, max_length: int) -> Choice:
    """The split for the device that torch sees, whose memory is limited as the options say.

    Raises EngineError when the training cannot fit, with a recipe that would.
    """
    import torch

    room = _room(settings.options)
    capability = None if room is None else torch.cuda.get_device_capability()
    shape = ModelShape.load(base, capability)
    return choose(shape, settings, room_gib=room, max_length=max_length)


def _room(options: TrainOptions) -> float | None:
    """The GPU's memory in GiB that this process may use; None on a CPU."""
    import torch

    if options.device == "cpu" or not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    room: float = free / GIB
    if options.memory_limit is not None:
        room = min(room, options.memory_limit)
        torch.cuda.set_per_process_memory_fraction(min(options.memory_limit * GIB / total, 1.0))
    return room


def try_longest_rows(trainer: Any) -> None:
    """One pass over the longest rows, so that memory runs out now or never. Leaves no trace.

    Call it where `train()` has set everything up: before, Unsloth would train without its checkpointing.
    """
    import torch

    lengths = [len(ids) for ids in trainer.train_dataset.data["input_ids"]]
    longest = sorted(range(len(lengths)), key=lambda index: -lengths[index])[: trainer.args.per_device_train_batch_size]
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    device = trainer.model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch = trainer.data_collator([trainer.train_dataset[index] for index in longest])
        trainer.training_step(trainer.model, batch)
    trainer.data_collator.waiting.clear()
    trainer.model.zero_grad(set_to_none=True)


def smaller(settings: TrainSettings, split: Choice) -> TrainOptions | None:
    """The options with the next smaller split, when memory ran out: half the micro-batch, at one row checkpointing.

    None when there is none.
    """
    lower = [rows for rows in range(1, split.micro_batch // 2 + 1) if settings.recipe.batch_size % rows == 0]
    if lower and not settings.recipe.neftune_alpha:  # whose noise goes by the size of a forward pass
        changed = {"micro_batch": lower[-1], "gradient_checkpointing": settings.options.gradient_checkpointing}
    elif not split.checkpointing:
        changed = {"micro_batch": split.micro_batch, "gradient_checkpointing": "on"}
    else:
        return None
    return settings.options.model_copy(update=changed)
