"""How a tensor's numbers are stored: the quants by name, and the streaming from a checkpoint's rows to a file's bytes.

What must stay true: memory holds one tensor as stored, the same one encoded, and a slice of float32 between them; and
no number becomes infinite or was none to begin with, unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType, quantize
from numpy.typing import NDArray

from twinctl.errors import CheckFailed, ConfigError
from twinctl.gguf.checkpoint import Float32, StoredTensor

_SLICE = 4 << 20  # elements that are float32 at one time: 16 MiB


@dataclass(frozen=True)
class Quant:
    """A way to store a whole model: the type of its matrices, and what `general.file_type` says."""

    matrices: GGMLQuantizationType
    file_type: LlamaFileType

    def type_of(self, shape: tuple[int, ...]) -> GGMLQuantizationType:
        """A tensor's type: vectors (norms, biases) stay float32 as in llama.cpp; rows that no blocks fill go to F16."""
        if len(shape) < 2:
            return GGMLQuantizationType.F32
        block, _ = GGML_QUANT_SIZES[self.matrices]
        return self.matrices if shape[-1] % block == 0 else GGMLQuantizationType.F16


QUANTS: Mapping[str, Quant] = {
    "f32": Quant(GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": Quant(GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": Quant(GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": Quant(GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}


def find_quant(name: str) -> Quant:
    """The quant of that name. Raises ConfigError for one that is not in `QUANTS`."""
    if name not in QUANTS:
        raise ConfigError(f"no quant is called {name!r}", f"known: {', '.join(QUANTS)}")
    return QUANTS[name]


def encoded_size(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    """Bytes that a tensor takes; its rows must be whole blocks, as `Quant.type_of` sees to."""
    block, block_bytes = GGML_QUANT_SIZES[kind]
    size: int = prod(shape) // block * block_bytes
    return size


def encode(source: StoredTensor, kind: GGMLQuantizationType, rotary_heads: int = 0) -> NDArray[np.uint8]:
    """A tensor's bytes in the file. `rotary_heads` > 0 interleaves its rows (see `interleaved_rows`).

    Raises CheckFailed where a number is not finite, or is too large for the type.
    """
    stored = source.read()
    rows = stored.reshape(-1, source.shape[-1])
    order = interleaved_rows(len(rows), rotary_heads) if rotary_heads else np.arange(len(rows))
    encoded = np.empty((len(rows), encoded_size(rows.shape[1:], kind)), np.uint8)
    step = max(1, _SLICE // rows.shape[1])
    for begin in range(0, len(rows), step):
        part = order[begin : begin + step]
        encoded[begin : begin + step] = _encode_slice(source.widen(rows[part]), kind, source.name)
    return encoded.reshape(-1)


def interleaved_rows(count: int, heads: int) -> NDArray[np.intp]:
    """The order that turns a projection's rows from transformers' rotary layout into that of GGUF's llama models.

    Within a head transformers rotates row i with row i + d/2; llama.cpp rotates neighbours, 2i with 2i + 1.
    """
    return np.arange(count).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def _encode_slice(values: Float32, kind: GGMLQuantizationType, name: str) -> NDArray[np.uint8]:
    peak = max(float(values.max()), -float(values.min()))  # a NaN anywhere is a NaN here
    if not np.isfinite(peak):
        raise CheckFailed(
            f"{name!r} holds numbers that are not finite",
            "the model is broken: train it again with a lower learning rate",
        )
    # Q8_0 keeps a float16 scale of peak/127 a block; the others that are not 16 bit wide have float32's range.
    limit = {GGMLQuantizationType.F16: 65504.0, GGMLQuantizationType.Q8_0: 65504.0 * 127}.get(kind, np.inf)
    if peak > limit:
        raise CheckFailed(f"{name!r} holds {peak:.4g}, too large for {kind.name}", "choose bf16 or f32")
    encoded: NDArray[np.uint8] = quantize(np.ascontiguousarray(values), kind).view(np.uint8)
    return encoded
