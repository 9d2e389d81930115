"""A Hugging Face model folder on disk: its JSON files, and its weights in safetensors, one tensor at a time.

What must stay true: a tensor that `stored_tensors` lists is wholly inside its file, in a type we can read, so that a
damaged download is refused before any work; weights enter memory only through `StoredTensor.read`; and a name that
comes from the model picks among files that are there, it never becomes a path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.thread_buffers import scratch
from twinctl.workspace.files import read_json

Array = NDArray[Any]
Float32 = NDArray[np.float32]

# bfloat16 has no numpy type: its bits travel as uint16, and `widen` gives them meaning.
_STORAGE: Mapping[str, str] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors format's own limit
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_REBUILD = "make the merged model again, or download it again"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is stored: `dtype` is F32, F16 or BF16, `offset` counts bytes from the start of `file`."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def rows(self) -> int:
        """How many rows lie one after the other; a vector is one."""
        return prod(self.shape[:-1])

    def read(self, begin: int = 0, end: int | None = None) -> Array:
        """A matrix of the rows from `begin` to before `end`, as stored (bfloat16 as uint16).

        Raises UpstreamError where the file ends early.
        """
        stop = self.rows if end is None else end
        room = np.empty((stop - begin, self.shape[-1]), _STORAGE[self.dtype])
        return next(self._parts(begin, stop, room), room)

    def parts(self, begin: int, end: int, step: int) -> Iterator[Array]:
        """The rows from `begin` to before `end`, as stored, `step` of them at a time. Each part is in the memory of the
        one before it, which stays in a core's cache. Raises UpstreamError where the file ends early.
        """
        return self._parts(begin, end, scratch((min(step, end - begin), self.shape[-1]), _STORAGE[self.dtype]))

    def _parts(self, begin: int, end: int, room: Array) -> Iterator[Array]:
        row_bytes = room.shape[1] * room.itemsize
        file = os.open(self.file, os.O_RDONLY)  # each call of a Python file's would have threads take turns
        try:
            for at in range(begin, end, max(len(room), 1)):
                stored = room[: end - at]
                if os.preadv(file, [stored.data], self.offset + at * row_bytes) != stored.nbytes:
                    raise _damaged(self.file, f"it ends inside {self.name!r}")
                yield stored
        finally:
            os.close(file)

    def widen(self, stored: Array) -> Float32:
        """float32 values of what `read` gave, or of any part of it; exact. bfloat16 is float32's upper half."""
        if self.dtype == "BF16":
            return np.left_shift(stored, 16, dtype=np.uint32, casting="unsafe").view(np.float32)
        return stored.astype(np.float32, copy=False)


def read_model_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder. Raises UpstreamError, naming the file, where it is missing or is not
    one.
    """
    try:
        document = read_json(path, "download the model again, or write it again")
    except FileNotFoundError:
        raise UpstreamError(
            f"{path} is missing", "a model folder holds config.json, tokenizer.json and its weights"
        ) from None
    if not isinstance(document, dict):
        raise UpstreamError(f"{path} is not a JSON object")
    return document


def stored_tensors(model_dir: Path) -> dict[str, StoredTensor]:
    """Every tensor of the folder by name, from one file or from the shards of an index; no weights are read.

    Where there are both, the one file counts, as in transformers: the index is what an earlier save left.
    Raises UpstreamError, naming the file, for one that is missing or damaged; ConfigError for weights of another type
    (a quantised checkpoint).
    """
    if (model_dir / _SINGLE).is_file() or not (model_dir / _INDEX).is_file():
        return _read_header(model_dir / _SINGLE)
    index = read_model_json(model_dir / _INDEX).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise _damaged(model_dir / _INDEX, "it has no weight_map")
    present = {path.name: path for path in model_dir.iterdir() if path.suffix == ".safetensors"}
    shards = {}
    for shard in sorted(set(map(str, index.values()))):
        if shard not in present:
            raise UpstreamError(f"{model_dir / _INDEX} names a shard that is not there: {shard!r}", _REBUILD)
        shards[shard] = _read_header(present[shard])
    for name, shard in index.items():
        if name not in shards[str(shard)]:
            raise _damaged(present[str(shard)], f"the index says it holds {name!r}, and it does not")
    return {name: shards[str(shard)][name] for name, shard in index.items()}


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """A safetensors file's table of contents: an 8-byte little-endian length, then that many bytes of JSON."""
    if not path.is_file():
        raise UpstreamError(f"{path} is missing", _REBUILD)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length or length > _HEADER_LIMIT:
            raise _damaged(path, f"its header would be {length:,} bytes long, the file is {size:,}")
        try:
            header = json.loads(file.read(length))
            entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, AttributeError):
            raise _damaged(path, "its header is not a JSON object") from None
    return {name: _locate(path, name, entry, start=8 + length, size=size) for name, entry in entries.items()}


def _locate(path: Path, name: str, entry: Any, *, start: int, size: int) -> StoredTensor:
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
        begin, end = (start + int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"its entry for {name!r} is not readable") from None
    if dtype not in _STORAGE:
        raise ConfigError(
            f"{path}: {name!r} has the type {dtype}; GGUF is written from F32, F16 or BF16 weights",
            "merge to 16 bit first",
        )
    if end > size:
        raise _damaged(path, f"it is {size:,} bytes long and {name!r} would end at {end:,}")
    if begin < start or min(shape, default=1) < 0 or end - begin != prod(shape) * np.dtype(_STORAGE[dtype]).itemsize:
        raise _damaged(path, f"the extent of {name!r} does not match its shape {shape}")
    return StoredTensor(name, path, dtype, shape, begin)


def _damaged(path: Path, what: str) -> UpstreamError:
    return UpstreamError(f"{path} is damaged: {what}", _REBUILD)
