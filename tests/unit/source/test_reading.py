"""Rows are those of the files that were resolved."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sources import ROW, places_of, put_file, source_at
from twinctl.data.locate import digest_of
from twinctl.data.source import read_rows
from twinctl.errors import ConfigError, UpstreamError
from twinctl.workspace.memo import DigestMemo, file_sha256


def test_a_limit_counts_rows_over_all_files_and_not_the_bad_ones() -> None:
    put_file("posts/a.jsonl", b"bad\n" + ROW * 2)
    put_file("posts/b.jsonl", ROW * 3)
    bad: list[str] = []
    places = [
        place for place, _ in read_rows(source_at("posts", limit=4), bad=lambda place, error: bad.append(error.message))
    ]
    assert places == ["a.jsonl:2", "a.jsonl:3", "b.jsonl:1", "b.jsonl:2"]
    assert len(bad) == 1 and bad[0].startswith("a.jsonl:1 is not JSON")


def test_files_below_a_reached_limit_are_not_opened() -> None:
    put_file("posts/a.jsonl", ROW * 2)
    put_file("posts/b.jsonl")
    source = source_at("posts", limit=2)
    Path("posts/b.jsonl").unlink()
    assert len(places_of(source)) == 2


def test_a_mixed_folder_gives_all_its_rows() -> None:
    put_file("posts/a.csv", b"q,a\n1,2\n")
    put_file("posts/b.json.gz", gzip.compress(b'[{"q": 1}]', mtime=0))
    put_file("posts/my_day.html", b"<p>x</p>")
    assert list(read_rows(source_at("posts"))) == [
        ("a.csv:2", {"q": "1", "a": "2"}),
        ("b.json.gz row 1", {"q": 1}),
        ("my_day.html", {"text": "<p>x</p>", "title": "my day", "format": "html"}),
    ]


@pytest.mark.parametrize("change", [b"", ROW * 2, ROW.replace(b"a", b"x")])
def test_a_file_that_changed_since_it_was_resolved_is_not_read(change: bytes) -> None:
    source = source_at(str(put_file("posts.jsonl")))
    Path("posts.jsonl").write_bytes(change)
    with pytest.raises(ConfigError, match=r"posts\.jsonl changed since") as caught:
        next(read_rows(source))
    assert "same command" in caught.value.hint


def test_a_file_that_is_gone_is_named() -> None:
    source = source_at(str(put_file("posts.jsonl")))
    Path("posts.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"posts\.jsonl cannot be read: No such file"):
        next(read_rows(source))


def _append() -> None:
    with open("posts.jsonl", "ab") as stream:
        stream.write(ROW)


def _truncate() -> None:
    os.truncate("posts.jsonl", len(ROW) * 2000 + 7)


def _replace() -> None:
    shutil.copy("posts.jsonl", "new")
    os.replace("new", "posts.jsonl")


@pytest.mark.parametrize("change", [_append, _truncate, _replace, lambda: Path("posts.jsonl").unlink()])
@pytest.mark.parametrize("limit", [None, 9000])
def test_a_file_that_changes_while_it_is_read_is_refused(change: Callable[[], None], limit: int | None) -> None:
    put_file("posts.jsonl", ROW * 10_000)
    rows = read_rows(source_at("posts.jsonl", limit=limit))
    next(rows)
    change()
    with pytest.raises(ConfigError, match=r"posts\.jsonl changed while it was read"):
        list(rows)


def test_reading_may_end_early_whatever_happens_then() -> None:
    put_file("posts.jsonl", ROW * 10)
    rows = read_rows(source_at("posts.jsonl"))
    next(rows)
    _append()
    rows.close()  # type: ignore[attr-defined]
    assert list(rows) == []


def test_small_files_are_not_remembered_and_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = DigestMemo(Path("digests.json"))
    small, large = put_file("small"), put_file("large", bytes(2**20))
    expected = [file_sha256(small), file_sha256(large)]
    monkeypatch.setattr("twinctl.workspace.memo.RACY_NS", -(2**40))  # both were at rest long ago
    assert [digest_of(path, memo) for path in (small, large)] == expected
    read: list[str] = []
    monkeypatch.setattr("twinctl.workspace.memo.file_sha256", lambda path: (read.append(path.name), "anew")[1])
    assert [digest_of(path, memo) for path in (small, large)] == ["anew", expected[1]]
    assert read == ["small"]


def test_a_file_that_changes_while_it_is_looked_at_is_bad_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: object) -> str:
        raise UpstreamError("large changed while it was read", "wait")

    monkeypatch.setattr(DigestMemo, "sha256", changed)
    with pytest.raises(ConfigError, match="changed while it was read"):
        digest_of(put_file("large", bytes(2**20)), DigestMemo(Path("digests.json")))
