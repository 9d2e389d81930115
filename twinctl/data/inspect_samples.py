"""Prepared samples as the model will see them.

What must stay true: what is shown is decoded from the stored ids, special tokens included; nothing is rendered again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, TRAIN, count_trained, integers, read_tokens, strings


@dataclass(frozen=True)
class TokenRun:
    """Neighbouring tokens of one kind: learnt or masked, special or text."""

    text: str
    trained: bool
    special: bool


@dataclass(frozen=True)
class InspectedSample:
    """A sample to look at. `tokens` and `trained` count tokens."""

    split: str
    source: str
    place: str
    role: str
    tokens: int
    trained: int
    parts: list[TokenRun]


@dataclass(frozen=True)
class SampleQuery:
    """Which samples to look at: at most `rows`, spread evenly over those of the source (a part of its name), the
    longest of them first, or those whose text contains `grep`.
    """

    rows: int
    source: str | None = None
    longest: bool = False
    grep: str | None = None


def inspect_samples(folder: Path, tokenizer: TextTokenizer, query: SampleQuery) -> list[InspectedSample]:
    """Those samples of a tokens folder."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = [
        table.append_column("split", strings([split] * table.num_rows))
        for split in (TRAIN, EVAL)
        if (table := read_tokens(folder, split)).num_rows
    ]
    table = pa.concat_tables(tables)
    if query.source is not None:
        table = table.filter(pc.match_substring(table["source"], query.source, ignore_case=True))
    order: Sequence[int] = range(table.num_rows)
    if query.longest:
        order = pc.sort_indices(pc.negate(pc.list_value_length(table["input_ids"]))).to_pylist()
    if query.grep is not None:
        return list(islice(_matching(table, order, tokenizer, query.grep), query.rows))
    count = min(query.rows, len(order))
    chosen = [order[number if query.longest else number * len(order) // count] for number in range(count)]
    return [_sample(row, tokenizer) for row in _rows(table, chosen)]


def _rows(table: Any, chosen: Sequence[int]) -> list[dict[str, Any]]:
    import numpy as np

    rows: list[dict[str, Any]] = table.take(integers(np.fromiter(chosen, "<i4", len(chosen)))).to_pylist()
    return rows


def _matching(table: Any, order: Sequence[int], tokenizer: TextTokenizer, grep: str) -> Iterator[InspectedSample]:
    for start in range(0, len(order), 1000):
        rows = _rows(table, order[start : start + 1000])
        for row, text in zip(rows, tokenizer.decode([row["input_ids"] for row in rows]), strict=True):
            if grep.casefold() in text.casefold():
                yield _sample(row, tokenizer)


def _sample(row: dict[str, Any], tokenizer: TextTokenizer) -> InspectedSample:
    parts = parts_of(row["input_ids"], row["trained"], tokenizer)
    named = {name: row[name] for name in ("split", "source", "place", "role")}
    trained = count_trained(row["trained"])
    return InspectedSample(**named, tokens=len(row["input_ids"]), trained=trained, parts=parts)


def parts_of(ids: list[int], trained: list[int], tokenizer: TextTokenizer) -> list[TokenRun]:
    """The sample in runs of tokens of one kind; the texts, one after the other, are the sample's text."""
    learnt = [False] * len(ids)
    for start, end in zip(trained[::2], trained[1::2], strict=True):
        learnt[start:end] = [True] * (end - start)
    kinds = [
        (is_learnt, identifier in tokenizer.special_ids) for identifier, is_learnt in zip(ids, learnt, strict=True)
    ]
    runs = [
        (kind, [identifier for _, identifier in run])
        for kind, run in groupby(zip(kinds, ids, strict=True), key=lambda pair: pair[0])
    ]
    texts = _texts([run for _, run in runs], tokenizer)
    return [TokenRun(text, *kind) for (kind, _), text in zip(runs, texts, strict=True)]


def _texts(runs: list[list[int]], tokenizer: TextTokenizer) -> list[str]:
    """Each run's text as it reads in its place: some tokenizers drop the space before a text's first word."""
    texts: list[str] = []
    before: list[int] = []
    text = ""
    for run in runs:
        before = [*before, *run]
        (longer,) = tokenizer.decode([before])
        texts.append(longer[len(text) :] if longer.startswith(text) else tokenizer.decode([run])[0])
        text = longer
    return texts
