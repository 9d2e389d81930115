"""llama.cpp's own encoders, called in the shared library of the runtime's wheel: K-quants without a compiler.

What must stay true: the bytes are those that `llama_model_quantize` would write, because they come from the function
that it calls; nothing of the runtime is started; and a call holds no lock of Python's, so that threads work side by
side. Rows do not influence each other: cut between rows, a matrix encodes to the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_int, c_int64, c_size_t, c_void_p
from functools import cache
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from twinctl.errors import EngineError
from twinctl.gguf.library import load_library

_CACHED = 1 << 16  # numbers that a core's cache still holds in float32 when they are encoded

_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    # type, const float * source, void * target, start, rows, columns, const float * importance
    "ggml_quantize_chunk": (c_size_t, c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p),
    "ggml_cpu_bf16_to_fp32": (None, c_void_p, c_void_p, c_int64),
}


def encode_rows(rows: NDArray[Any], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """A matrix's rows, as stored (float32, float16, or bfloat16 as uint16), as blocks of `kind`, one row of bytes for
    each; its rows must be whole blocks.

    Raises EngineError where the runtime's library is missing or cannot do it.
    """
    block, block_bytes = GGML_QUANT_SIZES[kind]
    count, columns = rows.shape
    target = np.empty((count, columns // block * block_bytes), np.uint8)
    step, written = max(1, _CACHED // columns), 0
    wide = np.empty((min(step, count), columns), np.float32)
    for begin in range(0, count, step):
        source, out = _widened(rows[begin : begin + step], wide), target[begin : begin + step]
        # ggml_quantize_chunk makes its own tables (ggml_quantize_init); no importance matrix is ever given.
        written += _ggml().ggml_quantize_chunk(kind, source.ctypes.data, out.ctypes.data, 0, len(out), columns, None)
    if columns % block or written != target.nbytes:
        raise EngineError(f"llama.cpp wrote {written:,} bytes of {kind.name} where {target.nbytes:,} were expected")
    return target


def _widened(rows: NDArray[Any], wide: NDArray[np.float32]) -> NDArray[np.float32]:
    """In float32; bfloat16 into `wide`: numpy takes twice as long, which is felt beside Q8_0, the fastest type."""
    if rows.dtype != np.uint16:
        return np.ascontiguousarray(rows, np.float32)
    stored = np.ascontiguousarray(rows)
    _ggml().ggml_cpu_bf16_to_fp32(stored.ctypes.data, wide.ctypes.data, stored.size)
    return wide[: len(stored)]


def require_ggml() -> None:
    """Raise EngineError where `encode_rows` would, before any work."""
    _ggml()


@cache
def _ggml() -> Any:
    return load_library(_SIGNATURES)
