"""Tokens on disk: what is written is read, and the digest is that of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinctl.data import tokens as tokens_module
from twinctl.data.tokens import EVAL, IGNORED, TRAIN, TokensWriter, read_tokens

Row = tuple[str, list[int], list[int]]
ROWS: list[Row] = [
    (
        EVAL if number % 5 == 0 else TRAIN,
        list(range(number, number + 3 + number % 4)),
        [IGNORED] * 2 + [7] * (1 + number % 4),
    )
    for number in range(23)
]


def _write(folder: Path, rows: list[Row], salt: str = "template") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with TokensWriter(folder, salt=salt) as writer:
        for split, ids, labels in rows:
            writer.add(split, ids, labels, prompt_length=2, prompt=f"é {ids[0]}", role="author")
    return writer.digest


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_what_is_written_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(tokens_module, "BATCH", batch)
    _write(tmp_path, ROWS)
    for split in (TRAIN, EVAL):
        expected = [
            {"input_ids": ids, "labels": labels, "prompt_length": 2, "prompt": f"é {ids[0]}", "role": "author"}
            for name, ids, labels in ROWS
            if name == split
        ]
        assert read_tokens(tmp_path, split).to_pylist() == expected


def test_a_split_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    _write(tmp_path, [row for row in ROWS if row[0] == TRAIN])
    assert read_tokens(tmp_path, EVAL).num_rows == 0
    assert read_tokens(tmp_path, EVAL).column_names == read_tokens(tmp_path, TRAIN).column_names


def test_the_digest_does_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for batch in (1, 4, 1000):
        monkeypatch.setattr(tokens_module, "BATCH", batch)
        digests.add(_write(tmp_path / str(batch), ROWS))
    assert len(digests) == 1
    assert (tmp_path / "1/train.arrow").read_bytes() != (tmp_path / "1000/train.arrow").read_bytes()


CHANGES: dict[str, Any] = {
    "an id": lambda rows: [(rows[0][0], [9, *rows[0][1][1:]], rows[0][2]), *rows[1:]],
    "a label": lambda rows: [(rows[0][0], rows[0][1], [*rows[0][2][:-1], 8]), *rows[1:]],
    "the order": lambda rows: [rows[1], rows[0], *rows[2:]],
    "the split": lambda rows: [(TRAIN, *rows[0][1:]), *rows[1:]],
    "a row less": lambda rows: rows[:-1],
    "the border between rows": lambda rows: [
        (TRAIN, [1, 2, 3], [1, 2, 3]),
        (TRAIN, [4], [4]),
        *rows,
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_depends_on_every_id_label_split_and_on_the_order(tmp_path: Path, change: str) -> None:
    before = [(TRAIN, [1, 2], [1, 2]), (TRAIN, [3, 4], [3, 4]), *ROWS] if change.startswith("the border") else ROWS
    assert _write(tmp_path / "a", before) != _write(tmp_path / "b", CHANGES[change](ROWS))


def test_the_digest_depends_on_the_template(tmp_path: Path) -> None:
    assert _write(tmp_path / "a", ROWS, "one") != _write(tmp_path / "b", ROWS, "other")


def test_an_error_in_the_block_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), TokensWriter(tmp_path, salt=""):
        raise ZeroDivisionError
