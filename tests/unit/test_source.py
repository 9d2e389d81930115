"""What a locator means, what identifies a source, and rows that stay those that were resolved."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twinctl import hub
from twinctl.data.find import digest_of
from twinctl.data.source import BUNDLED, Role, Source, changes, read_rows, resolve_sources, told_apart
from twinctl.errors import ConfigError, HubError, UpstreamError
from twinctl.recipes.prepare import DataSource
from twinctl.workspace.memo import DigestMemo, file_sha256

ROW = b'{"instruction": "a", "output": "b"}\n'
SHA, OTHER = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A Hub that has every data set at one commit; what it was asked for."""
    calls: list[tuple[str, str | None]] = []

    def resolve_dataset(repo: str, revision: str | None = None) -> str:
        calls.append((repo, revision))
        return SHA

    monkeypatch.setattr(hub, "resolve_dataset", resolve_dataset)
    return calls


def _file(name: str, content: bytes = ROW) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _resolve(
    *wanted: str | dict[str, Any], role: Role = "author", pinned: Any = (), refresh: bool = False
) -> list[Source]:
    each = [DataSource(source=one) if isinstance(one, str) else DataSource.model_validate(one) for one in wanted]
    memo, spool = DigestMemo(Path("../digests.json")), Path("../stdin")
    return resolve_sources(each, role, memo, pinned, refresh=refresh, spool=spool)


def _one(locator: str, **asked: Any) -> Source:
    (source,) = _resolve({"source": locator, **asked})
    return source


def _names(source: Source) -> list[str]:
    return [os.path.relpath(file.path) for file in source.files]


def _places(source: Source) -> list[str]:
    return [place for place, _ in read_rows(source)]


# Files


def test_a_path_that_exists_beats_a_hub_id(folder: Path) -> None:
    _file("owner/name")
    source = _one("owner/name")
    assert (source.files[0].path, source.repo) == (str(folder / "owner/name"), None)


def test_a_folder_that_exists_beats_a_hub_id() -> None:
    _file("owner/name/a.jsonl")
    assert _one("owner/name").repo is None


def test_home_is_known(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    _file("posts.jsonl")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir("/")
    assert _places(_one("~/posts.jsonl")) == ["posts.jsonl:1"]


@pytest.mark.parametrize("locator", ["./owner/name", "~/owner/name", "/owner/name", "owner/name.json", "a/b.csv.gz"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(asked: list[Any], locator: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no file {locator}"):
        _one(locator)
    assert asked == []


@pytest.mark.parametrize(("locator", "near"), [("post.jsonl", "posts.jsonl"), ("./data/row.jsonl", "data/rows.jsonl")])
def test_a_missing_file_offers_the_near_name(locator: str, near: str) -> None:
    _file("posts.jsonl")
    _file("data/rows.jsonl")
    with pytest.raises(ConfigError, match=f"there is no file {locator}") as caught:
        _one(locator)
    assert caught.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize(
    "locator", ["", "nothing", "a/b/c", "/nowhere/rows.jsonl", "a b/c", "hf:nothing", "hf:", "~x/y"]
)
def test_what_is_neither_file_nor_hub_id_is_refused(locator: str) -> None:
    with pytest.raises(ConfigError, match="there is no file") as caught:
        _one(locator)
    assert "OWNER/NAME:train" in caught.value.hint


def test_a_file_of_another_kind_is_refused_with_the_kinds() -> None:
    _file("posts.docx", b"PK\3\4")
    with pytest.raises(ConfigError, match=r"posts\.docx is of a kind that cannot be read") as caught:
        _one("posts.docx")
    assert ".parquet" in caught.value.hint and ".gz" in caught.value.hint


def test_a_pipe_is_refused_with_the_way_to_pipe() -> None:
    os.mkfifo("pipe")
    with pytest.raises(ConfigError, match="pipe is neither a file nor a folder") as caught:
        _one("pipe")
    assert "-d -" in caught.value.hint


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _file("posts.jsonl")

    def shut(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("twinctl.workspace.memo.file_sha256", shut)
    with pytest.raises(ConfigError, match=r"posts\.jsonl cannot be read: Permission denied"):
        _one("posts.jsonl")


def test_a_name_that_is_not_utf_8_is_refused(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_bytes(b"text")
    with pytest.raises(ConfigError, match=r"caf\\udce9\.txt' has a name that is not UTF-8"):
        _one(".")


def test_the_bundled_author_is_a_source_of_whole_rows(folder: Path) -> None:
    source = _one(BUNDLED)
    rows = list(read_rows(source))
    assert len(rows) >= 200 and rows[0][0] == "author.jsonl:1"
    assert all(row["instruction"] and row["output"] for _, row in rows)
    assert [file.path for file in source.files] == [""]
    (here,) = source.local_files()
    copy = Path(shutil.copy(here[0], "copy.jsonl"))
    assert here == (here[0], file_sha256(copy))
    assert _one("copy.jsonl").identity == source.identity


# Folders and globs


def test_a_folder_gives_its_known_files_by_relative_path() -> None:
    for name in ("b.jsonl", "a/z.md", "a/c.csv.gz", "a.txt", "a/d/e.PARQUET"):
        _file(f"posts/{name}", b"x")
    for name in (".hidden.jsonl", ".git/x.md", "a/.x/y.md", "photo.jpg", "a/notes.docx", "README"):
        _file(f"posts/{name}", b"x")
    source = _one("posts/")
    expected = ["a.txt", "a/c.csv.gz", "a/d/e.PARQUET", "a/z.md", "b.jsonl"]
    assert _names(source) == [f"posts/{name}" for name in expected]
    assert [file.title for file in source.files] == ["a", "", "", "z", ""]
    assert (source.name, source.locator) == ("posts", "posts/")


def test_a_folder_s_places_are_relative_to_it() -> None:
    _file("posts/a/b.jsonl", ROW + ROW)
    _file("posts/my-day.md", b"# Day")
    assert _places(_one("posts")) == ["a/b.jsonl:1", "a/b.jsonl:2", "my-day.md"]
    assert _places(_one("./posts/../posts/a/")) == ["b.jsonl:1", "b.jsonl:2"]


def test_the_working_folder_is_a_folder(folder: Path) -> None:
    _file("posts/a.md")
    assert (_one(".").name, _places(_one("."))) == ("here", ["posts/a.md"])


def test_links_are_followed_and_cycles_end(folder: Path) -> None:
    _file("../elsewhere/one.jsonl")
    _file("../more/two.jsonl")
    _file("posts/own.jsonl")
    links = {"a.jsonl": "../../elsewhere/one.jsonl", "more": "../../more", "up": "..", "self": "self", "gone.md": "no"}
    for name, target in links.items():
        Path("posts", name).symlink_to(target)
    Path("../more/back").symlink_to(folder / "posts")
    assert _names(_one("posts")) == ["posts/a.jsonl", "posts/more/two.jsonl", "posts/own.jsonl"]


def test_a_folder_without_anything_to_read_says_what_is_there() -> None:
    for name in ("a.docx", "b.docx", "c.jpg"):
        _file(f"posts/{name}")
    with pytest.raises(
        ConfigError, match=r"posts holds nothing that can be read; there is: 2 \.docx, 1 \.jpg"
    ) as caught:
        _one("posts")
    assert ".jsonl" in caught.value.hint
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match="empty holds nothing that can be read; there is: no file"):
        _one("empty")


def test_a_folder_that_may_not_be_read_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    _file("posts/a.jsonl")
    walk = os.walk

    def shut(top: str, *, onerror: Callable[[OSError], None], **options: Any) -> Iterator[Any]:
        onerror(PermissionError(13, "Permission denied", "posts/b"))
        return walk(top, **options)

    monkeypatch.setattr(os, "walk", shut)
    with pytest.raises(ConfigError, match="posts cannot be read: Permission denied"):
        _one("posts")


def test_a_glob_gives_its_matches_in_order() -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt", "deep/d.jsonl"):
        _file(f"posts/{name}")
    assert _names(_one("posts/*.jsonl")) == ["posts/a.jsonl", "posts/b.jsonl"]
    assert _names(_one("posts/[ab].jsonl")) == ["posts/a.jsonl", "posts/b.jsonl"]
    deep = _one("posts/**/*.jsonl")
    assert _names(deep) == ["posts/a.jsonl", "posts/b.jsonl", "posts/deep/d.jsonl"]
    assert _places(deep) == ["a.jsonl:1", "b.jsonl:1", "deep/d.jsonl:1"]


def test_a_path_that_exists_is_no_glob() -> None:
    _file("posts[1].jsonl")
    _file("posts1.jsonl")
    source = _one("posts[1].jsonl")
    assert (source.name, _names(source)) == ("posts[1].jsonl", ["posts[1].jsonl"])


@pytest.mark.parametrize("locator", ["*.jsonl", "posts/*.md", "./a/b:train[:3]"])
def test_a_glob_without_a_match_is_refused(asked: list[Any], locator: str) -> None:
    with pytest.raises(ConfigError, match="no file matches") as caught:
        _one(locator)
    assert locator in caught.value.message and asked == []


def test_a_glob_with_nothing_to_read_says_what_is_there() -> None:
    _file("posts/a.docx")
    with pytest.raises(ConfigError, match=r"posts/\* holds nothing that can be read; there is: 1 \.docx"):
        _one("posts/*")


# Standard input


def _pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


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
    _pipe(monkeypatch, content)
    source = _one("-")
    (file,) = source.files
    kept = Path(file.path)
    assert kept.is_absolute() and kept.name == file.digest[:16] + suffix
    assert kept.read_bytes() == content
    assert (source.name, file.title) == ("standard input", "")
    assert [item.name for item in Path("../stdin").iterdir()] == [kept.name]
    (place, row), *_ = read_rows(source)
    assert place.startswith("standard input") and row
    before = kept.stat()
    _pipe(monkeypatch, content)
    assert (_one("-"), kept.stat()) == (source, before)


def test_what_is_damaged_in_the_spool_is_kept_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, ROW)
    path = Path(_one("-").files[0].path)
    path.write_bytes(b"half")
    _pipe(monkeypatch, ROW)
    assert len(_places(_one("-"))) == 1


def test_standard_input_and_a_file_of_the_same_rows_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, ROW)
    _file("posts.jsonl")
    assert _one("-").identity == _one("posts.jsonl").identity


def test_standard_input_needs_something_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, b"")
    with pytest.raises(ConfigError, match="standard input is empty"):
        _one("-")
    assert list(Path("../stdin").iterdir()) == []
    _pipe(monkeypatch, ROW)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(ConfigError, match="nothing is piped"):
        _one("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="nothing is piped"):
        _one("-")


def test_gzip_in_standard_input_that_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, gzip.compress(os.urandom(100))[:30])
    with pytest.raises(ConfigError, match="standard input is cut short"):
        _one("-")


# The Hub


def test_a_name_that_is_no_path_is_a_hub_id(asked: list[Any]) -> None:
    source = _one("owner/name")
    assert (source.files, source.repo, source.split, source.sha) == ((), "owner/name", "train", SHA)
    assert asked == [("owner/name", None)]


@pytest.mark.parametrize("name", ["owner/name", "owner/name.json", "owner/folder"])
def test_hf_forces_the_hub(asked: list[Any], name: str) -> None:
    for path in ("owner/name", "owner/name.json", "owner/folder/rows.jsonl"):
        _file(path)
    assert (_one(f"hf:{name}").repo, asked) == (name, [(name, None)])


@pytest.mark.parametrize(
    ("locator", "repo", "split"),
    [
        ("a/b:test", "a/b", "test"),
        ("mlabonne/FineTome-Alpaca-100k:train[:10000]", "mlabonne/FineTome-Alpaca-100k", "train[:10000]"),
        ("hf:a-1/b_2.c:train[10%:]+test", "a-1/b_2.c", "train[10%:]+test"),
    ],
)
def test_a_split_follows_the_hub_id(asked: list[Any], locator: str, repo: str, split: str) -> None:
    assert [_one(locator).repo, _one(locator).split] == [repo, split]


def test_split_and_revision_beside_the_id(asked: list[Any]) -> None:
    source = _one("a/b", split="test[:5]", revision="v2")
    assert (source.split, source.revision, asked) == ("test[:5]", "v2", [("a/b", "v2")])
    assert _one("a/b:test", split="test").split == "test"
    with pytest.raises(ConfigError, match="a/b:train names a split, and split names another: test"):
        _one("a/b:train", split="test")


@pytest.mark.parametrize("asked_for", [{"split": "train"}, {"revision": "main"}])
def test_a_file_has_neither_split_nor_revision(asked_for: dict[str, str]) -> None:
    _file("posts.jsonl")
    with pytest.raises(ConfigError, match=r"posts\.jsonl is not a data set on the Hub"):
        _one("posts.jsonl", **asked_for)


def test_a_pinned_commit_is_kept_until_it_is_refreshed(asked: list[Any]) -> None:
    pins = [
        {"repo": None, "sha": None, "locator": "posts.jsonl", "path": "posts.jsonl"},
        Source("author", "a/c", "a/c", repo="a/c", sha="3" * 40).stored(),
        Source("author", "a/b", "a/b", repo="a/b", revision="v2", sha="4" * 40).stored(),
        Source("author", "a/b", "a/b:train", repo="a/b", split="train", sha=OTHER).stored(),
    ]
    (source,) = _resolve("a/b:test", pinned=pins)
    assert (source.sha, source.split, asked) == (OTHER, "test", [])
    (source,) = _resolve({"source": "a/b", "revision": "v2"}, pinned=pins)
    assert (source.sha, asked) == ("4" * 40, [])
    (source,) = _resolve({"source": "a/b", "revision": "v3"}, pinned=pins)
    assert (source.sha, asked) == (SHA, [("a/b", "v3")])
    (source,) = _resolve("a/b:test", pinned=pins, refresh=True)
    assert source.sha == SHA


def test_a_hub_that_refuses_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise HubError("no connection", "wait")

    monkeypatch.setattr(hub, "resolve_dataset", refuse)
    with pytest.raises(HubError):
        _one("a/b")


def test_hub_rows_have_places(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def rows(*request: str) -> Iterator[dict[str, int]]:
        seen.append(request)
        return iter([{"n": number} for number in range(5)])

    monkeypatch.setattr(hub, "dataset_rows", rows)
    assert list(read_rows(_one("hf:a/b:test", limit=2))) == [("a/b row 1", {"n": 0}), ("a/b row 2", {"n": 1})]
    assert seen == [("a/b", SHA, "test")]


# Several


def test_two_sources_of_one_name_are_told_apart(asked: list[Any]) -> None:
    _file("one/posts.jsonl")
    _file("two/posts.jsonl", ROW * 2)
    _file("alone.md")
    wanted = ["one/posts.jsonl", "two/posts.jsonl", "alone.md", "a/b", {"source": "a/b", "split": "test"}, "c/d"]
    names = [source.name for source in _resolve(*wanted)]
    assert names == ["one/posts.jsonl", "two/posts.jsonl", "alone.md", "a/b:train", "a/b:test", "c/d"]


@pytest.mark.parametrize(
    "pair",
    [
        ("posts.jsonl", "posts.jsonl"),
        ("posts.jsonl", "./posts.jsonl"),
        ("posts.jsonl", "link.jsonl"),
        ("folder", "folder/"),
        ("folder", "folder/*"),
        (BUNDLED, BUNDLED),
        ("a/b", "hf:a/b:train"),
        ("a/b", {"source": "a/b", "weight": 2}),
    ],
)
def test_a_source_is_given_once(asked: list[Any], pair: tuple[Any, Any]) -> None:
    _file("posts.jsonl")
    _file("folder/a.md")
    Path("link.jsonl").symlink_to("posts.jsonl")
    with pytest.raises(ConfigError, match="is given twice") as caught:
        _resolve(*pair)
    assert "weight" in caught.value.hint


def test_standard_input_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _pipe(monkeypatch, ROW)
    with pytest.raises(ConfigError, match="- is given twice"):
        _resolve("-", "-")


# Identity


def test_a_file_s_identity_is_its_content_not_its_place() -> None:
    _file("one.jsonl")
    _file("far/two.jsonl")
    _file("other.jsonl", ROW + b"\n")
    one, two, other = (_one(name).identity for name in ("one.jsonl", "far/two.jsonl", "other.jsonl"))
    assert one == two != other
    assert "one" not in json.dumps(one)


def test_a_folder_s_identity_is_its_files_in_order() -> None:
    _file("one/a.jsonl")
    _file("one/b/c.jsonl", ROW * 2)
    _file("two/x.jsonl")
    _file("two/y.jsonl", ROW * 2)
    _file("three/a.jsonl", ROW * 2)
    _file("three/b.jsonl")
    one, two, three = (_one(name).identity for name in ("one", "two", "three"))
    assert one == two != three


def test_what_enters_the_rows_of_a_document_enters_its_identity() -> None:
    for name in ("a.md", "far/a.md", "b.md", "a.txt"):
        _file(name, b"# Text")
    first, moved, retitled, other_kind = (_one(name).identity for name in ("a.md", "far/a.md", "b.md", "a.txt"))
    assert first == moved
    assert len({json.dumps(identity) for identity in (first, retitled, other_kind)}) == 3


def test_the_same_bytes_read_another_way_are_another_source() -> None:
    _file("a.csv", b"a\tb,c\n1\t2,3\n")
    _file("a.tsv", b"a\tb,c\n1\t2,3\n")
    assert _one("a.csv").identity != _one("a.tsv").identity


def test_what_is_asked_beside_the_defaults_is_part_of_the_identity(asked: list[Any]) -> None:
    _file("posts.jsonl")
    plain = _one("posts.jsonl", limit=None, weight=1, map=()).identity
    assert set(plain) == {"role", "files"} and set(_one("a/b").identity) == {"role", "repo", "sha", "split"}
    options: list[dict[str, Any]] = [{"limit": 1}, {"weight": 0.5}, {"map": ["instruction=q"]}]
    identities = [plain, *(_one("posts.jsonl", **option).identity for option in options)]
    (general,) = _resolve("posts.jsonl", role="general")
    assert len({json.dumps(identity) for identity in [*identities, general.identity]}) == 5


@pytest.mark.parametrize("wanted", [{"source": "posts", "limit": 3, "weight": 0.5, "map": ["a=b"]}, {"source": "a/b"}])
def test_a_source_survives_being_stored(asked: list[Any], wanted: dict[str, Any]) -> None:
    _file("posts/a.md")
    _file("posts/b.jsonl")
    (source,) = _resolve(wanted)
    stored = source.stored()
    assert json.loads(json.dumps(stored)) == stored
    assert Source.of(stored) == source


def test_a_source_that_the_first_twinctl_stored_is_understood() -> None:
    fields = {"role": "author", "locator": "a/b:test", "path": None, "repo": "a/b", "split": "test", "sha": SHA}
    source = Source.of({**fields, "digest": None})
    assert (source.repo, source.sha, source.name) == ("a/b", SHA, "a/b:test")
    assert list(Source.of({**fields, "path": "/x", "repo": None, "sha": None, "digest": "0"}).local_files()) == [
        (Path("/x"), "0")
    ]


# Since then


def test_what_changed_in_a_folder_is_named() -> None:
    for name in ("a.md", "b.md", "deep/c.jsonl"):
        _file(f"posts/{name}")
    memo = DigestMemo(Path("../digests.json"))
    folder, matched, one = _one("posts"), _one("posts/*.md"), _one("posts/b.md")
    assert [changes(source, memo) for source in (folder, matched, one)] == [[], [], []]
    _file("posts/b.md", b"other")
    _file("posts/deep/d.txt")
    Path("posts/a.md").unlink()
    Path("posts/photo.jpg").touch()
    assert changes(folder, memo) == ["b.md changed", "deep/d.txt is new", "a.md is gone"]
    assert changes(matched, memo) == ["b.md changed", "a.md is gone"]
    assert changes(one, memo) == ["b.md changed"]
    shutil.rmtree("posts")
    assert [changes(source, memo) for source in (folder, matched, one)] == [[], [], []]  # as on another machine


def test_another_folder_of_the_same_name_is_not_the_one_that_was_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file("posts/a.md")
    _file("../there/posts/b.md")
    source = _one("posts")
    monkeypatch.chdir("../there")
    assert changes(source, DigestMemo(Path("digests.json"))) == []
    _file(str(folder / "posts/a.md"), b"other")
    assert changes(source, DigestMemo(Path("digests.json"))) == ["a.md changed"]


def test_sources_of_one_name_are_told_apart_whosever_they_are() -> None:
    _file("mine/posts.jsonl")
    _file("others/posts.jsonl", ROW + ROW)
    author, general = _one("mine/posts.jsonl"), _resolve("others/posts.jsonl", role="general")[0]
    assert [source.name for source in told_apart([author, general])] == ["mine/posts.jsonl", "others/posts.jsonl"]
    with pytest.raises(ConfigError, match="given twice"):
        told_apart([author, *_resolve("./mine/posts.jsonl", role="general")])


# Reading


def test_a_limit_counts_rows_over_all_files_and_not_the_bad_ones() -> None:
    _file("posts/a.jsonl", b"bad\n" + ROW * 2)
    _file("posts/b.jsonl", ROW * 3)
    bad: list[str] = []
    places = [
        place for place, _ in read_rows(_one("posts", limit=4), bad=lambda place, error: bad.append(error.message))
    ]
    assert places == ["a.jsonl:2", "a.jsonl:3", "b.jsonl:1", "b.jsonl:2"]
    assert len(bad) == 1 and bad[0].startswith("a.jsonl:1 is not JSON")


def test_files_below_a_reached_limit_are_not_opened() -> None:
    _file("posts/a.jsonl", ROW * 2)
    _file("posts/b.jsonl")
    source = _one("posts", limit=2)
    Path("posts/b.jsonl").unlink()
    assert len(_places(source)) == 2


def test_a_mixed_folder_gives_all_its_rows() -> None:
    _file("posts/a.csv", b"q,a\n1,2\n")
    _file("posts/b.json.gz", gzip.compress(b'[{"q": 1}]', mtime=0))
    _file("posts/my_day.html", b"<p>x</p>")
    assert list(read_rows(_one("posts"))) == [
        ("a.csv:2", {"q": "1", "a": "2"}),
        ("b.json.gz row 1", {"q": 1}),
        ("my_day.html", {"text": "<p>x</p>", "title": "my day", "format": "html"}),
    ]


@pytest.mark.parametrize("change", [b"", ROW * 2, ROW.replace(b"a", b"x")])
def test_a_file_that_changed_since_it_was_resolved_is_not_read(change: bytes) -> None:
    source = _one(str(_file("posts.jsonl")))
    Path("posts.jsonl").write_bytes(change)
    with pytest.raises(ConfigError, match=r"posts\.jsonl changed since") as caught:
        next(read_rows(source))
    assert "same command" in caught.value.hint


def test_a_file_that_is_gone_is_named() -> None:
    source = _one(str(_file("posts.jsonl")))
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
    _file("posts.jsonl", ROW * 10_000)
    rows = read_rows(_one("posts.jsonl", limit=limit))
    next(rows)
    change()
    with pytest.raises(ConfigError, match=r"posts\.jsonl changed while it was read"):
        list(rows)


def test_reading_may_end_early_whatever_happens_then() -> None:
    _file("posts.jsonl", ROW * 10)
    rows = read_rows(_one("posts.jsonl"))
    next(rows)
    _append()
    rows.close()  # type: ignore[attr-defined]


# Digests


def test_small_files_are_not_remembered_and_large_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = DigestMemo(Path("digests.json"))
    small, large = _file("small"), _file("large", bytes(2**20))
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
        digest_of(_file("large", bytes(2**20)), DigestMemo(Path("digests.json")))
