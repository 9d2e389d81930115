"""llama.cpp's own encoders, called in the shared library of the runtime's wheel: K-quants without a compiler.

What must stay true: the bytes are those that `llama_model_quantize` would write, because they come from the function
that it calls; nothing of the runtime is started; and a call holds no lock of Python's, so that threads work side by
side. Rows do not influence each other: cut between rows, a matrix encodes to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ctypes import c_int, c_int64, c_size_t, c_void_p
from functools import cache
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from twinctl.errors import EngineError
from twinctl.gguf.library import load_library
from twinctl.gguf.thread_buffers import scratch

_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    # type, const float * source, void * target, start, rows, columns, const float * importance
    "ggml_quantize_chunk": (c_size_t, c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p),
    "ggml_cpu_bf16_to_fp32": (None, c_void_p, c_void_p, c_int64),
}


def encode(parts: Iterable[NDArray[Any]], shape: tuple[int, int], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """A matrix of that shape as blocks of `kind`, one row of bytes for each; rows must be whole blocks. They come in
    `parts`, as stored (float32, float16, or bfloat16 as uint16), none longer than the first.

    Raises EngineError where the runtime's library is missing or cannot do it.
    """
    block, block_bytes = GGML_QUANT_SIZES[kind]
    (count, columns), library = shape, load_ggml()
    target = np.empty((count, columns // block * block_bytes), np.uint8)
    wide, address, written = np.empty((0, columns), np.float32), target.ctypes.data, 0
    for rows in parts:
        if rows.dtype != np.uint16:
            source = np.ascontiguousarray(rows, np.float32)
        else:  # numpy takes twice as long to widen, which is felt next to Q8_0, the fastest type
            wide = wide if len(wide) else scratch(rows.shape, np.float32)
            stored, source = np.ascontiguousarray(rows), wide[: len(rows)]
            library.ggml_cpu_bf16_to_fp32(stored.ctypes.data, wide.ctypes.data, stored.size)
        # It makes its own tables (ggml_quantize_init); no importance matrix is ever given.
        written += library.ggml_quantize_chunk(
            kind, source.ctypes.data, address + written, 0, len(source), columns, None
        )
    if columns % block or written != target.nbytes:
        raise EngineError(f"llama.cpp wrote {written:,} bytes of {kind.name} where {target.nbytes:,} were expected")
    return target


@cache
def load_ggml() -> Any:
    """The library with llama.cpp's encoders, loaded once. Raises EngineError where there is none, as `encode` does."""
    return load_library(_SIGNATURES)
