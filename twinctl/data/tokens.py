"""The tokens on disk: two Arrow files of rows that are ready to train.

What must stay true: a row's `input_ids` and `labels` are equally long (a label of -100 is not learnt); the digest
follows from the ids, labels and template alone, not from Arrow's bytes; rows are written and read in batches, never
all at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

IGNORED = -100
TRAIN, EVAL = "train", "eval"
BATCH = 1000


class TokensWriter:
    """Writes train.arrow and eval.arrow into a folder; use it in a `with` block."""

    def __init__(self, folder: Path, *, salt: str) -> None:
        self._folder = folder
        self._hash = hashlib.sha256(salt.encode())
        self._files: dict[str, Any] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {TRAIN: [], EVAL: []}

    def __enter__(self) -> TokensWriter:
        import pyarrow as pa

        for name in self._waiting:
            self._files[name] = pa.ipc.new_file(self._folder / f"{name}.arrow", _schema())
        return self

    def add(
        self, split: str, input_ids: list[int], labels: list[int], *, prompt_length: int, prompt: str, role: str
    ) -> None:
        """Append a row. `prompt`: the last question's text; `prompt_length`: how many ids come before its answer."""
        import numpy as np

        self._hash.update(f"{split}{len(input_ids)}:".encode())
        self._hash.update(np.asarray([input_ids, labels], dtype="<i4").tobytes())
        rows = self._waiting[split]
        rows.append(
            {"input_ids": input_ids, "labels": labels, "prompt_length": prompt_length, "prompt": prompt, "role": role}
        )
        if len(rows) >= BATCH:
            self._flush(split)

    def _flush(self, split: str) -> None:
        import pyarrow as pa

        self._files[split].write_batch(pa.RecordBatch.from_pylist(self._waiting[split], schema=_schema()))
        self._waiting[split] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, file in self._files.items():
            if kind is None and self._waiting[name]:
                self._flush(name)
            file.close()

    @property
    def digest(self) -> str:
        """The sha256 of all rows so far."""
        return self._hash.hexdigest()


def read_tokens(folder: Path, split: str) -> pa.Table:
    """The split's rows as a memory-mapped table: input_ids, labels, prompt_length, prompt, role."""
    import pyarrow as pa

    with pa.memory_map(str(folder / f"{split}.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def _schema() -> pa.Schema:
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    return pa.schema(
        {"input_ids": ids, "labels": ids, "prompt_length": pa.int32(), "prompt": pa.string(), "role": pa.string()}
    )
