"""What a locator means, and rows read one at a time with their place in every error."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinctl.data.source import Source, parse_source, read_rows, resolve_source
from twinctl.errors import ConfigError
from twinctl.workspace.memo import DigestMemo

ROW = b'{"instruction": "a", "output": "b"}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _file(name: str, content: bytes = ROW) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _rows(content: bytes) -> list[tuple[str, dict[str, object]]]:
    return list(read_rows(Source("author", "posts.jsonl", path=str(_file("posts.jsonl", content).resolve()))))


def test_a_path_that_exists_beats_a_hub_id(folder: Path) -> None:
    _file("owner/name")
    source = parse_source("owner/name", "author")
    assert (source.path, source.repo) == (str(folder / "owner/name"), None)


def test_a_name_that_is_no_path_is_a_hub_id() -> None:
    source = parse_source("owner/name", "general")
    assert (source.role, source.path, source.repo, source.split) == ("general", None, "owner/name", "train")


@pytest.mark.parametrize("name", ["owner/name", "owner/name.json", "owner/folder"])
def test_hf_forces_the_hub(name: str) -> None:
    _file("owner/name")
    _file("owner/name.json")
    _file("owner/folder/rows.jsonl")
    source = parse_source(f"hf:{name}", "author")
    assert (source.path, source.repo) == (None, name)


def test_a_dot_forces_a_path() -> None:
    with pytest.raises(ConfigError, match=r"there is no file \./owner/name"):
        parse_source("./owner/name", "author")


@pytest.mark.parametrize(
    ("locator", "repo", "split"),
    [
        ("a/b:test", "a/b", "test"),
        ("a/b:train[:100]", "a/b", "train[:100]"),
        ("hf:a-1/b_2.c:train[10%:]", "a-1/b_2.c", "train[10%:]"),
    ],
)
def test_a_split_follows_the_hub_id(locator: str, repo: str, split: str) -> None:
    source = parse_source(locator, "author")
    assert (source.repo, source.split) == (repo, split)


def test_a_folder_is_refused_with_the_way_to_name_a_file() -> None:
    _file("posts/rows.jsonl")
    with pytest.raises(ConfigError, match="posts/ is a folder") as caught:
        parse_source("posts/", "author")
    assert "-d posts/rows.jsonl" in caught.value.hint


@pytest.mark.parametrize(("locator", "near"), [("post.jsonl", "posts.jsonl"), ("./data/row.jsonl", "data/rows.jsonl")])
def test_a_missing_file_offers_the_near_name(locator: str, near: str) -> None:
    _file("posts.jsonl")
    _file("data/rows.jsonl")
    with pytest.raises(ConfigError, match=f"there is no file {locator}") as caught:
        parse_source(locator, "author")
    assert caught.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize("locator", ["nothing", "a/b/c", "/nowhere/rows.jsonl", "a b/c", "hf:nothing"])
def test_what_is_neither_file_nor_hub_id_is_refused(locator: str) -> None:
    with pytest.raises(ConfigError, match="there is no file") as caught:
        parse_source(locator, "author")
    assert "OWNER/NAME:train" in caught.value.hint


def test_a_file_s_identity_is_its_content_not_its_place(folder: Path) -> None:
    memo = DigestMemo(folder / "digests.json")
    one, two, other = (
        resolve_source(parse_source(str(_file(name, content)), "author"), memo, [], refresh=False).identity
        for name, content in (("one.jsonl", ROW), ("far/two.jsonl", ROW), ("other.jsonl", ROW + b"\n"))
    )
    assert one == two != other


def test_a_role_is_part_of_the_identity(folder: Path) -> None:
    memo, name = DigestMemo(folder / "digests.json"), str(_file("rows.jsonl"))
    author, general = (
        resolve_source(parse_source(name, role), memo, [], refresh=False).identity for role in ("author", "general")
    )
    assert author != general


def test_a_commit_that_the_run_has_pinned_is_kept_without_asking(folder: Path) -> None:
    pins = [Source("author", "a/c:train", repo="a/c", sha="2" * 40).stored()]
    pins.append(Source("author", "a/b:train", repo="a/b", sha="1" * 40).stored())
    source = parse_source("a/b:test", "author")
    resolved = resolve_source(source, DigestMemo(folder / "digests.json"), pins, refresh=False)
    assert (resolved.sha, resolved.split) == ("1" * 40, "test")


def test_a_source_survives_being_stored() -> None:
    source = parse_source("a/b:test", "author")
    assert Source(**source.stored()) == source


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n{"a": 2}',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n\n  \n{"a": 2}\n\n',
    ],
    ids=["plain", "no last line end", "CRLF", "BOM", "empty lines"],
)
def test_rows_are_read_in_order(content: bytes) -> None:
    assert [row for _, row in _rows(content)] == [{"a": 1}, {"a": 2}]


def test_a_place_counts_lines_also_the_empty_ones() -> None:
    assert [place for place, _ in _rows(b'{"a": 1}\n\n{"a": 2}\n')] == ["posts.jsonl:1", "posts.jsonl:3"]


def test_only_a_line_feed_ends_a_line() -> None:
    text = "one\u2028two\u0085three"
    assert _rows(f'{{"a": "{text}"}}\n'.encode()) == [("posts.jsonl:1", {"a": text})]


@pytest.mark.parametrize("line", [b'{"a": 1', b"hello", b"{'a': 1}", b'{"a": 1} {"a": 2}'])
def test_a_line_that_is_not_json_gives_file_and_line(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"posts\.jsonl:3 is not JSON"):
        _rows(b'{"a": 1}\n\n' + line + b"\n")


@pytest.mark.parametrize("line", [b"[1, 2]", b'"text"', b"3", b"null"])
def test_a_line_that_is_no_object_gives_file_and_line(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"posts\.jsonl:2 is not a JSON object"):
        _rows(b'{"a": 1}\n' + line + b"\n")


@pytest.mark.parametrize("line", [2, 500])
def test_a_line_that_is_not_utf_8_gives_file_and_line(line: int) -> None:
    with pytest.raises(ConfigError, match=rf"posts\.jsonl:{line} is not UTF-8"):
        _rows(b'{"a": 1}\n' * (line - 1) + '{"a": "é"}\n'.encode("latin-1") + b'{"a": 1}\n' * 3)


def test_rows_before_a_bad_one_are_given_first() -> None:
    """Rows are streamed: nothing waits for the end of the file."""
    rows = read_rows(Source("author", "x", path=str(_file("posts.jsonl", b'{"a": 1}\nbad\n').resolve())))
    assert next(rows) == ("posts.jsonl:1", {"a": 1})
    with pytest.raises(ConfigError):
        next(rows)


def test_the_bundled_author_is_a_source_of_whole_rows() -> None:
    source = parse_source("bundled:author", "author")
    rows = list(read_rows(source))
    assert len(rows) >= 200
    assert all(row["instruction"] and row["output"] for _, row in rows)
