"""Standard input is kept as a file, by its content."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import pytest

from tests.support.sources import ROW, pipe, places_of, put_file, source_at
from twinctl.data.source import read_rows
from twinctl.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (ROW, ".jsonl"),
        (b"\xef\xbb\xbf \n" + ROW, ".jsonl"),
        (b'[{"a": 1}]', ".json"),
        (b"# My day\n", ".txt"),
        (gzip.compress(ROW, mtime=0), ".jsonl.gz"),
        (gzip.compress(b"text", mtime=0), ".txt.gz"),
    ],
)
def test_standard_input_is_kept_by_its_content(monkeypatch: pytest.MonkeyPatch, content: bytes, suffix: str) -> None:
    pipe(monkeypatch, content)
    source = source_at("-")
    (file,) = source.files
    kept = Path(file.path)
    assert kept.is_absolute() and kept.name == file.digest[:16] + suffix
    assert kept.read_bytes() == content
    assert (source.name, file.title) == ("standard input", "")
    assert [item.name for item in Path("../stdin").iterdir()] == [kept.name]
    (place, row), *_ = read_rows(source)
    assert place.startswith("standard input") and row
    before = kept.stat()
    pipe(monkeypatch, content)
    assert (source_at("-"), kept.stat()) == (source, before)


def test_what_is_damaged_in_the_spool_is_kept_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, ROW)
    path = Path(source_at("-").files[0].path)
    path.write_bytes(b"half")
    pipe(monkeypatch, ROW)
    assert len(places_of(source_at("-"))) == 1


def test_standard_input_and_a_file_of_the_same_rows_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, ROW)
    put_file("posts.jsonl")
    assert source_at("-").identity == source_at("posts.jsonl").identity


def test_standard_input_needs_something_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    with pytest.raises(ConfigError, match="standard input is empty"):
        source_at("-")
    assert list(Path("../stdin").iterdir()) == []
    pipe(monkeypatch, ROW)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(ConfigError, match="nothing is piped"):
        source_at("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="nothing is piped"):
        source_at("-")


def test_gzip_in_standard_input_that_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, gzip.compress(os.urandom(100))[:30])
    with pytest.raises(ConfigError, match="standard input is cut short"):
        source_at("-")
