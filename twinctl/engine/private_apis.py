"""What the engine uses of torch, transformers and Unsloth that they do not promise, and why nothing public will do.

What must stay true: no other module of the engine uses a private part of a library; tests/unit/test_private_apis.py
fails when one of these parts is renamed or takes other arguments.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

# Attributes that Unsloth sets on an attention module while it generates: its cache. It holds memory, and an incomplete
# one makes the next answer fail.
DECODING_CACHE = (
    *("paged_attention", "paged_attention_K", "paged_attention_V", "attention"),
    *("temp_QA", "temp_KV", "temp_O", "RH_Q"),
)
WEIGHT_CAST = "_fast_lora"  # an attribute that Unsloth sets on a weight: its 16-bit copy
# Attributes of a module that Unsloth's `for_inference`, and what it does around `generate`, change.
GENERATION_MODES = ("training", "gradient_checkpointing", "_flag_for_generation", "prepare_inputs_for_generation")
INNER_TOKENIZER = "_saved_temp_tokenizer"  # an attribute of a module, by which Unsloth finds the tokenizer


def load_checkpoint_weights(trainer: Any, checkpoint: Path) -> None:
    """Load a checkpoint's weights, an adapter's or a whole model's in one file or in shards, without training.

    The public way, `train(resume_from_checkpoint=…)`, takes a step too many from a checkpoint of the last step.
    """
    trainer._load_from_checkpoint(str(checkpoint))


def free_decoding_cache(model: Any) -> None:
    """Remove Unsloth's decoding cache from the attention modules."""
    for module in model.modules():
        if DECODING_CACHE[0] in vars(module):
            for name in DECODING_CACHE:
                vars(module).pop(name, None)


def patch_varlen_gqa() -> None:
    """Let Unsloth use torch 2.11's kernel for packed rows; call it before Unsloth is imported. Other versions of torch
    stay as they are.

    torch's varlen kernel takes the segments of a packed row as they are. Unsloth uses it where `varlen_attn` has an
    argument `enable_gqa`, which torch 2.11 lacks although its kernel takes grouped queries all the same. There Unsloth
    launches an attention for each sample instead, and the GPU waits for Python: with an 8B on an H200, rows of 2,048
    tokens and 4.3 samples, a step took 2.65 s against 2.11.
    """
    from torch.nn.attention import varlen

    plain = varlen.varlen_attn
    arguments = inspect.signature(plain).parameters
    if "enable_gqa" in arguments or "window_size" not in arguments:
        return

    def varlen_attn(
        query: Any,
        key: Any,
        value: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Any:
        """torch's own; `enable_gqa` says what the shapes say."""
        return plain(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)

    varlen.varlen_attn = varlen_attn
