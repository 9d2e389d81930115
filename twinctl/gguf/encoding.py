"""A tensor's way from a checkpoint's rows to a file's bytes, in slices of rows that threads encode side by side.

What must stay true: memory holds a few slices for each thread and never a whole tensor; the bytes do not depend on the
slices nor on the number of threads; and no number becomes infinite, or was none to begin with, unnoticed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quantize
from numpy.typing import NDArray

from twinctl.errors import CheckFailed
from twinctl.gguf.checkpoint import StoredTensor
from twinctl.gguf.ggml import encode

_SLICE = 1 << 21  # elements of a slice; of fewer, what Python does between the slices and the threads' turns are felt
_PART = 1 << 19  # elements of a slice that are read, checked and encoded together, largely within a core's cache
_AHEAD = 2  # slices that wait for each thread
_STORED_AS = {"F32": GGMLQuantizationType.F32, "F16": GGMLQuantizationType.F16, "BF16": GGMLQuantizationType.BF16}
_WIDE = (GGMLQuantizationType.F32, GGMLQuantizationType.BF16)  # what has float32's range
_NUMBER_BY_NUMBER = (*_WIDE, GGMLQuantizationType.F16)

# How a type's bits are read as numbers, signed and not; the mask that leaves out the sign; and the bits of its largest
# number that float16 holds, in which all kinds but _WIDE keep their numbers, or a block's scale or minimum.
_BITS = {
    "F32": (np.int32, np.uint32, 0x7FFFFFFF, 0x477FE000),
    "F16": (np.int16, np.uint16, 0x7FFF, 0x7BFF),
    "BF16": (np.int16, np.uint16, 0x7FFF, 0x477F),
}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file: its numbers come from the checkpoint, or, for computed ones, are stored here.

    `rotary_heads` > 0 interleaves its rows (see `_checked`); `plus` is added to each number (of
    vectors: they are never stored in blocks).
    """

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    source: StoredTensor | NDArray[np.float32]
    rotary_heads: int = 0
    plus: float = 0.0

    @property
    def size(self) -> int:
        """Bytes in the file, before the padding; rows are whole blocks, as `QuantType.type_of` sees to."""
        block, block_bytes = GGML_QUANT_SIZES[self.kind]
        size: int = prod(self.shape) // block * block_bytes
        return size

    def slices(self) -> Iterator[Callable[[], Bytes]]:
        """What gives the file's bytes, part by part and in order. Each part may be run in a thread of its own.

        A part raises CheckFailed where a number is not finite, or is too large for the type.
        """
        if not isinstance(self.source, StoredTensor):
            here = self.source.view(np.uint8)
            yield lambda: here
            return
        step = self._rows(self.source, _SLICE)
        for begin in range(0, self.source.rows, step):
            yield partial(self._encode, self.source, begin, min(begin + step, self.source.rows))

    def _rows(self, source: StoredTensor, elements: int) -> int:
        """About so many elements in whole rows, and whole heads where they are interleaved."""
        unit = source.rows // self.rotary_heads if self.rotary_heads else 1
        return max(1, elements // self.shape[-1] // unit) * unit

    def _encode(self, source: StoredTensor, begin: int, end: int) -> Bytes:
        if self.kind not in _NUMBER_BY_NUMBER:
            parts = source.parts(begin, end, self._rows(source, _PART))
            checked = (self._checked(source, stored) for stored in parts)
            return encode(checked, (end - begin, self.shape[-1]), self.kind).reshape(-1)
        stored = self._checked(source, source.read(begin, end))
        if not self.plus and _STORED_AS[source.dtype] == self.kind:
            return np.ascontiguousarray(stored).view(np.uint8).reshape(-1)
        values = source.widen(stored)
        values = values + np.float32(self.plus) if self.plus else values
        return np.ascontiguousarray(quantize(values, self.kind)).view(np.uint8).reshape(-1)

    def _checked(self, source: StoredTensor, stored: NDArray[Any]) -> NDArray[Any]:
        """What was read, in the file's order of rows: whole heads' rows from transformers' rotary layout to that of
        GGUF's llama models. Within a head transformers rotates row i with row i + d/2; llama.cpp rotates neighbours, 2i
        with 2i + 1.
        """
        _require_finite(source, stored, self.kind)
        if not self.rotary_heads:
            return stored
        head_dim = source.rows // self.rotary_heads
        halves = stored.reshape(-1, 2, head_dim // 2, stored.shape[-1])
        return halves.swapaxes(1, 2).reshape(stored.shape)


def encoded(tensors: Iterable[Tensor], threads: int) -> Iterator[tuple[Tensor, Bytes]]:
    """The parts of all tensors, in order, with a bounded number of them waiting: threads work on across the end of a
    tensor, however small it is.
    """
    waiting: deque[tuple[Tensor, Future[Bytes]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="gguf") as pool:
        try:
            for tensor in tensors:
                for part in tensor.slices():
                    waiting.append((tensor, pool.submit(part)))
                    if len(waiting) > _AHEAD * threads:
                        first, result = waiting.popleft()
                        yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            for _, result in waiting:
                result.cancel()


def available_cores() -> int:
    """The cores that this process may use: its affinity, which is not the machine's number in a container."""
    return len(os.sched_getaffinity(0))


def _require_finite(source: StoredTensor, stored: NDArray[Any], kind: GGMLQuantizationType) -> None:
    """By bits, without a copy: a float's order as its magnitude does, infinity and NaN last, as signed numbers for
    those above zero, as unsigned ones, less the sign's bit, for those below.
    """
    signed, unsigned, all_but_sign, usual = _BITS[source.dtype]
    top = max(int(stored.view(signed).max()), int(stored.view(unsigned).max()) & all_but_sign)
    if top <= usual:
        return
    peak = float(source.widen(np.array([top], unsigned).view(stored.dtype)).item())
    if not np.isfinite(peak):
        raise CheckFailed(
            f"{source.name!r} holds numbers that are not finite",
            "the model is broken: train it again with a lower learning rate",
        )
    if kind not in _WIDE:
        raise CheckFailed(f"{source.name!r} holds {peak:.4g}, too large for {kind.name}", "choose bf16 or f32")
