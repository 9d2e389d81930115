"""The tokens on disk: two Arrow files of samples that are ready to train, and what was said about them.

What must stay true: the digest follows from ids, trained spans, template and stop token alone, not from Arrow's bytes
or from how the samples were batched; samples are written and read in batches, never all at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from twinctl.errors import UpstreamError
from twinctl.workspace.files import read_json, write_json, write_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

T = TypeVar("T")

IGNORED = -100
TRAIN, EVAL = "train", "eval"
BATCH = 2000
TEXTS = ("prompt", "role", "source", "place")
TEMPLATE_FILE, INFO_FILE = "template.jinja", "tokens.json"


@dataclass(frozen=True)
class TokensInfo:
    """What goes with the tokens wherever they go: the template that is stored in the tokenizer, and its stop token.

    `eos` is None in results of the first version, whose stop token always is the tokenizer's own.
    """

    template: str
    max_length: int
    eos: str | None

    @classmethod
    def read(cls, folder: Path, max_length: int) -> TokensInfo:
        """That of a tokens folder; `max_length` stands in for what the first version did not write there."""
        template = (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
        if not (folder / INFO_FILE).exists():
            return cls(template, max_length, None)
        return cls(template, **read_json(folder / INFO_FILE))

    def write(self, folder: Path) -> None:
        """Where `read` finds it."""
        write_text(folder / TEMPLATE_FILE, self.template)
        write_json(folder / INFO_FILE, {"max_length": self.max_length, "eos": self.eos})


@dataclass(slots=True)
class TokenizedSample:
    """One sample. `trained`: the token spans that are learnt, as [start, end, start, end, …]. `prompt`: the last
    question's text, `source` and `place` say where it comes from.
    """

    ids: list[int]
    trained: list[int]
    prompt: str
    role: str
    source: str
    place: str


class TokensWriter:
    """Writes train.arrow and eval.arrow into a folder; use it in a `with` block."""

    def __init__(self, folder: Path, *, salt: str) -> None:
        self._folder, self._salt = folder, salt
        self._splits: dict[str, _Split] = {}

    def __enter__(self) -> TokensWriter:
        self._splits = {name: _Split(self._folder / f"{name}.arrow") for name in (TRAIN, EVAL)}
        return self

    def add(self, split: str, sample: TokenizedSample) -> None:
        """Append a sample."""
        self._splits[split].add(sample)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for split in self._splits.values():
            split.close(whole=kind is None)

    @property
    def digest(self) -> str:
        """The sha256 of everything written, once the block has ended."""
        parts = [self._salt, *(split.digest for split in self._splits.values())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def lengths(self, split: str) -> np.ndarray[Any, Any]:
        """The samples' lengths in tokens, int32, in order; once the block has ended."""
        import numpy as np

        return np.concatenate([np.zeros(0, np.int32), *self._splits[split].lengths])


@dataclass
class _Split:
    """One of the two files."""

    path: Path
    waiting: list[TokenizedSample] = field(default_factory=list)
    lengths: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        import pyarrow as pa

        self._file = pa.ipc.new_file(self.path, _schema())
        self._hashes = [hashlib.sha256() for _ in range(4)]

    def add(self, sample: TokenizedSample) -> None:
        self.waiting.append(sample)
        if len(self.waiting) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        ids = _ragged([sample.ids for sample in self.waiting])
        trained = _ragged([sample.trained for sample in self.waiting])
        for digest, values in zip(self._hashes, (*ids, *trained), strict=True):
            digest.update(values.tobytes())
        self.lengths.append(ids[0])
        texts = [strings([getattr(sample, name) for sample in self.waiting]) for name in TEXTS]
        columns = [_list_array(*ids), _list_array(*trained), *texts]
        self._file.write_batch(pa.RecordBatch.from_arrays(columns, schema=_schema()))
        self.waiting = []

    def close(self, *, whole: bool) -> None:
        if whole and self.waiting:
            self._flush()
        self._file.close()

    @property
    def digest(self) -> str:
        return "".join(digest.hexdigest() for digest in self._hashes)


def _ragged(rows: list[list[int]]) -> tuple[Any, Any]:
    """(lengths, all values), both little-endian int32."""
    import numpy as np

    lengths = np.fromiter(map(len, rows), "<i4", len(rows))
    return lengths, np.fromiter(chain.from_iterable(rows), "<i4", int(lengths.sum()))


def _list_array(lengths: Any, values: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("<i4")
    return pa.ListArray.from_arrays(integers(offsets), integers(values))


def count_trained(spans: Sequence[int]) -> int:
    """The number of tokens in the spans [start, end, start, end, …]."""
    return sum(spans[1::2]) - sum(spans[::2])


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, or all of them, as far from each other as possible."""
    count = min(max(count, 0), len(items))
    return [items[(2 * number + 1) * len(items) // (2 * count)] for number in range(count)]


def integers(values: Any) -> Any:
    """The int32 values as pa.array would have them, which first imports pandas: a second's work."""
    import pyarrow as pa

    return pa.Int32Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])


def strings(values: list[str]) -> Any:
    """The texts as pa.array would have them, without pandas."""
    import pyarrow as pa

    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    return builder.finish()


def _schema() -> pa.Schema:
    import pyarrow as pa

    ids, text = pa.list_(pa.int32()), pa.string()
    return pa.schema({"input_ids": ids, "trained": ids, **dict.fromkeys(TEXTS, text)})


def read_tokens(folder: Path, split: str) -> pa.Table:
    """The split's samples as a memory-mapped table with the columns of `TokenizedSample` (`input_ids` for `ids`)."""
    import pyarrow as pa

    with pa.memory_map(str(folder / f"{split}.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    if "trained" not in table.column_names:
        raise UpstreamError(
            f"{folder} holds tokens of an older twinctl, which cannot be trained on", "prepare again: twinctl prepare"
        )
    return table


def samples(table: pa.Table) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """(ids, labels) of each sample, int32 and equally long; a label of -100 is not learnt."""
    import numpy as np

    for batch in table.select(["input_ids", "trained"]).to_batches():
        for ids, spans in zip(_rows(batch.column(0)), _rows(batch.column(1)), strict=True):
            labels = np.full_like(ids, IGNORED)
            for start, end in spans.reshape(-1, 2):
                labels[start:end] = ids[start:end]
            yield ids, labels


def _rows(column: Any) -> Iterator[Any]:
    values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
    return (values[start:end] for start, end in pairwise(offsets.tolist()))
