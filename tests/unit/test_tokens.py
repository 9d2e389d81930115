"""Tokens on disk: what is written is read, and the digest is that of the samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from twinctl.data import tokens as tokens_module
from twinctl.data.tokens import EVAL, IGNORED, TRAIN, TokenizedSample, TokensInfo, TokensWriter, read_tokens, samples
from twinctl.errors import UpstreamError

Row = tuple[str, TokenizedSample]


def _sample(number: int) -> TokenizedSample:
    ids = list(range(number, number + 4 + number % 4))
    return TokenizedSample(
        ids, [1, 2, 3, len(ids)], f"é {number}", "author", "posts.jsonl", f"posts.jsonl:{number + 1}"
    )


ROWS: list[Row] = [(EVAL if number % 5 == 0 else TRAIN, _sample(number)) for number in range(23)]


def _write(folder: Path, rows: list[Row], salt: str = "template") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with TokensWriter(folder, salt=salt) as writer:
        for split, sample in rows:
            writer.add(split, sample)
    assert writer.lengths(TRAIN).tolist() == [len(sample.ids) for split, sample in rows if split == TRAIN]
    return writer.digest


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_what_is_written_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(tokens_module, "BATCH", batch)
    _write(tmp_path, ROWS)
    for split in (TRAIN, EVAL):
        expected = [
            {
                "input_ids": each.ids,
                "trained": each.trained,
                "prompt": each.prompt,
                "role": each.role,
                "source": each.source,
                "place": each.place,
            }
            for name, each in ROWS
            if name == split
        ]
        table = read_tokens(tmp_path, split)
        assert table.to_pylist() == expected
        labels = [labels.tolist() for _, labels in samples(table)]
        assert labels == [[IGNORED, ids[1], IGNORED, *ids[3:]] for ids in (row["input_ids"] for row in expected)]
        assert [ids.tolist() for ids, _ in samples(table)] == [row["input_ids"] for row in expected]


def test_a_split_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    _write(tmp_path, [row for row in ROWS if row[0] == TRAIN])
    assert read_tokens(tmp_path, EVAL).num_rows == 0
    assert read_tokens(tmp_path, EVAL).column_names == read_tokens(tmp_path, TRAIN).column_names
    assert list(samples(read_tokens(tmp_path, EVAL))) == []


def test_the_digest_does_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for batch in (1, 4, 1000):
        monkeypatch.setattr(tokens_module, "BATCH", batch)
        digests.add(_write(tmp_path / str(batch), ROWS))
    assert len(digests) == 1
    assert (tmp_path / "1/train.arrow").read_bytes() != (tmp_path / "1000/train.arrow").read_bytes()


def _with(rows: list[Row], **changed: Any) -> list[Row]:
    (split, sample), *others = rows
    return [(split, replace(sample, **changed)), *others]


CHANGES: dict[str, Any] = {
    "an id": lambda rows: _with(rows, ids=[9, *rows[0][1].ids[1:]]),
    "what is learnt": lambda rows: _with(rows, trained=[0, 2, 3, 4]),
    "the order": lambda rows: [rows[1], rows[0], *rows[2:]],
    "the split": lambda rows: [(TRAIN if rows[0][0] == EVAL else EVAL, rows[0][1]), *rows[1:]],
    "a row less": lambda rows: rows[:-1],
    "the border between rows": lambda rows: [
        (TRAIN, replace(rows[0][1], ids=[1, 2, 3])),
        (TRAIN, replace(rows[0][1], ids=[4])),
        *rows[2:],
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_depends_on_every_id_label_split_and_on_the_order(tmp_path: Path, change: str) -> None:
    two = [(TRAIN, replace(_sample(0), ids=[1, 2])), (TRAIN, replace(_sample(0), ids=[3, 4]))]
    before = [*two, *ROWS]
    assert _write(tmp_path / "a", before) != _write(tmp_path / "b", CHANGES[change](before))


def test_names_and_places_are_not_part_of_the_digest(tmp_path: Path) -> None:
    """The same rows in another file, or in another order of files, are the same tokens."""
    renamed = _with(ROWS, source="other.jsonl", place="other.jsonl:1", prompt="", role="general")
    assert _write(tmp_path / "a", ROWS) == _write(tmp_path / "b", renamed)


def test_the_digest_depends_on_the_template(tmp_path: Path) -> None:
    assert _write(tmp_path / "a", ROWS, "one") != _write(tmp_path / "b", ROWS, "other")


def test_an_error_in_the_block_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), TokensWriter(tmp_path, salt=""):
        raise ZeroDivisionError


def test_what_goes_with_the_tokens_is_read_back(tmp_path: Path) -> None:
    info = TokensInfo("{{ é }}\n", 256, "<|im_end|>")
    info.write(tmp_path)
    assert TokensInfo.read(tmp_path, 0) == info


def test_the_first_versions_tokens_are_refused_with_a_reason_and_their_template_is_read(tmp_path: Path) -> None:
    (tmp_path / "template.jinja").write_text("{{ x }}")
    assert TokensInfo.read(tmp_path, 128) == TokensInfo("{{ x }}", 128, None)
    table = pa.table({"input_ids": [[1]], "labels": [[1]]})
    with pa.ipc.new_file(tmp_path / "train.arrow", table.schema) as file:
        file.write_table(table)
    with pytest.raises(UpstreamError, match="older twinctl") as caught:
        read_tokens(tmp_path, TRAIN)
    assert "twinctl prepare" in caught.value.hint
