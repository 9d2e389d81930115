"""Attention over packed rows in one launch.

torch's varlen kernel takes the segments of a packed row as they are. Unsloth uses it where `varlen_attn` has an
argument `enable_gqa`, which torch 2.11 lacks although its kernel takes grouped queries all the same. There Unsloth
launches an attention for each sample instead, and the GPU waits for Python: with an 8B on an H200, rows of 2,048 tokens
and 4.3 samples, a step took 2.65 s against 2.11.
"""

from __future__ import annotations

import inspect
from typing import Any


def patch_varlen_gqa() -> None:
    """Give torch 2.11's `varlen_attn` the argument, before Unsloth is imported. Other versions stay as they are."""
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
