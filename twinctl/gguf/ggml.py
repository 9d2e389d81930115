"""llama.cpp's own encoders, called in the shared library of the runtime's wheel: K-quants without a compiler.

What must stay true: the bytes are those that `llama_model_quantize` would write, because they come from the function
that it calls; nothing of the runtime is started; and a call holds no lock of Python's, so that threads work side by
side. Rows do not influence each other: cut between rows, a matrix encodes to the same bytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from twinctl.errors import EngineError

_PACKAGE = "xllamacpp"
_SUFFIXES = (".so", ".dylib", ".pyd", ".dll")
# size_t ggml_quantize_chunk(type, const float * source, void * target, start, rows, columns, const float * imatrix)
_SYMBOL = "ggml_quantize_chunk"
_ARGUMENTS = (ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p)


def encode_rows(rows: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """A matrix's rows as blocks of `kind`, one row of bytes for each; its rows must be whole blocks.

    Raises EngineError where the runtime's library is missing or cannot do it.
    """
    block, block_bytes = GGML_QUANT_SIZES[kind]
    count, columns = rows.shape
    source = np.ascontiguousarray(rows, np.float32)
    target = np.empty((count, columns // block * block_bytes), np.uint8)
    # ggml_quantize_chunk makes its own tables (ggml_quantize_init); no importance matrix is ever given.
    written = _function()(kind, source.ctypes.data, target.ctypes.data, 0, count, columns, None)
    if columns % block or written != target.nbytes:
        raise EngineError(f"llama.cpp wrote {written:,} bytes of {kind.name} where {target.nbytes:,} were expected")
    return target


def require_ggml() -> None:
    """Raise EngineError where `encode_rows` would, before any work."""
    _function()


@cache
def _function() -> Any:
    for path in _libraries():
        with suppress(OSError, AttributeError):  # one that cannot be loaded by itself, or holds something else
            function = getattr(ctypes.CDLL(str(path)), _SYMBOL)
            function.argtypes, function.restype = _ARGUMENTS, ctypes.c_size_t
            return function
    raise EngineError(
        f"the package {_PACKAGE} holds no library with {_SYMBOL}, which quantises",
        f"install it anew: pip install --force-reinstall {_PACKAGE}; or choose -q bf16",
    )


def _libraries() -> Iterator[Path]:
    """The shared libraries of the installed package: one inside it, or several in the folder that some wheels add."""
    spec = find_spec(_PACKAGE)
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for place in (folder, folder / "lib", folder.with_name(f"{_PACKAGE}.libs")):
            yield from sorted(path for path in place.glob("*") if path.suffix in _SUFFIXES or ".so." in path.name)
