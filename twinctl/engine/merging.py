"""An adapter merged into its base's 16-bit weights, by Unsloth's save_pretrained_merged."""

from __future__ import annotations

import math

from twinctl.config.export import MergeRecipe, ProofOptions
from twinctl.engine.models import adapter_with_base, free_memory, load_model, set_chat_template, stop_at, tensor_names
from twinctl.engine.unsloth_import import start_unsloth
from twinctl.errors import CheckFailed
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import Attempt, Produced
from twinctl.planning.gpu import find_gpu
from twinctl.planning.model_shape import weights_bytes
from twinctl.wording import GIB

MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")
WORKING = 1.1  # the memory a merge takes, as a multiple of the weights' size
ON_THE_CPU = "close what else uses the GPU, or merge without it: put CUDA_VISIBLE_DEVICES= before the command"


def merge(attempt: Attempt[MergeRecipe, ProofOptions, TrainedModel]) -> Produced:
    """Write config, tokenizer and 16-bit safetensors to the attempt's `out`. Raises CheckFailed for LoRA names."""
    adapter, base, info = attempt.inputs.adapter, attempt.inputs.base, attempt.inputs.info
    assert adapter is not None
    gpu, needed = find_gpu(), WORKING * weights_bytes(base) / GIB
    room = math.inf if gpu is None else gpu.room_gib()
    is_too_small = room < needed
    if is_too_small:  # as after QLoRA, which needs a third of the memory
        free = f"the GPU has {room:.1f} GiB free, and the 16-bit model takes {needed:.1f}"
        attempt.event("warning", text=f"{free}: merging on the CPU, which takes longer")
    attempt.stage("loading Unsloth")
    unsloth = start_unsloth("cpu" if is_too_small else "auto")
    attempt.stage("loading the base and the adapter")
    with adapter_with_base(adapter, base) as folder:
        # The 16-bit base also where training used a 4-bit one: merging into rounded weights would lose what was learnt.
        model, tokenizer = load_model(unsloth, folder, max_length=info.max_length, hint=ON_THE_CPU)
    set_chat_template(tokenizer, info.template, info.eos)
    stop_at(model.generation_config, tokenizer.eos_token_id)
    attempt.stage("merging")
    model.save_pretrained_merged(str(attempt.out), tokenizer, save_method="merged_16bit")
    del model
    free_memory()  # the verification loads the model again
    for path in attempt.out.iterdir():
        if path.is_file() and not path.name.endswith(MODEL_SUFFIXES):
            path.unlink()
    names = tensor_names(attempt.out)
    if not names or any("lora" in name for name in names):
        raise CheckFailed(
            "the merged file is not a plain model: it has LoRA tensors or none at all", "twinctl export --restart"
        )
    return Produced(metrics={"tensors": len(names)})
