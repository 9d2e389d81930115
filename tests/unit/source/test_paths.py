"""What a locator that is a path means: a file, a folder, a glob, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import ROW, names_of, places_of, put_file, source_at
from twinctl.data.source import BUNDLED, read_rows
from twinctl.errors import ConfigError
from twinctl.workspace.memo import file_sha256


def test_a_path_that_exists_beats_a_hub_id(workdir: Path) -> None:
    put_file("owner/name")
    source = source_at("owner/name")
    assert (source.files[0].path, source.repo) == (str(workdir / "owner/name"), None)


def test_a_folder_that_exists_beats_a_hub_id() -> None:
    put_file("owner/name/a.jsonl")
    assert source_at("owner/name").repo is None


def test_home_is_known(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    put_file("posts.jsonl")
    monkeypatch.setenv("HOME", str(workdir))
    monkeypatch.chdir("/")
    assert places_of(source_at("~/posts.jsonl")) == ["posts.jsonl:1"]


@pytest.mark.parametrize("locator", ["./owner/name", "~/owner/name", "/owner/name", "owner/name.json", "a/b.csv.gz"])
def test_what_can_only_be_a_path_is_not_asked_of_the_hub(asked_datasets: list[Any], locator: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no file {locator}"):
        source_at(locator)
    assert asked_datasets == []


@pytest.mark.parametrize(("locator", "near"), [("post.jsonl", "posts.jsonl"), ("./data/row.jsonl", "data/rows.jsonl")])
def test_a_missing_file_offers_the_near_name(locator: str, near: str) -> None:
    put_file("posts.jsonl")
    put_file("data/rows.jsonl")
    with pytest.raises(ConfigError, match=f"there is no file {locator}") as caught:
        source_at(locator)
    assert caught.value.hint == f"did you mean {near}?"


@pytest.mark.parametrize(
    "locator", ["", "nothing", "a/b/c", "/nowhere/rows.jsonl", "a b/c", "hf:nothing", "hf:", "~x/y"]
)
def test_what_is_neither_file_nor_hub_id_is_refused(locator: str) -> None:
    with pytest.raises(ConfigError, match="there is no file") as caught:
        source_at(locator)
    assert "OWNER/NAME:train" in caught.value.hint


def test_a_file_of_another_kind_is_refused_with_the_kinds() -> None:
    put_file("posts.docx", b"PK\3\4")
    with pytest.raises(ConfigError, match=r"posts\.docx is of a kind that cannot be read") as caught:
        source_at("posts.docx")
    assert ".parquet" in caught.value.hint and ".gz" in caught.value.hint


def test_a_pipe_is_refused_with_the_way_to_pipe() -> None:
    os.mkfifo("pipe")
    with pytest.raises(ConfigError, match="pipe is neither a file nor a folder") as caught:
        source_at("pipe")
    assert "-d -" in caught.value.hint


def test_a_file_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    put_file("posts.jsonl")

    def shut(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("twinctl.workspace.memo.file_sha256", shut)
    with pytest.raises(ConfigError, match=r"posts\.jsonl cannot be read: Permission denied"):
        source_at("posts.jsonl")


def test_a_name_that_is_not_utf_8_is_refused(workdir: Path) -> None:
    Path(os.fsdecode(os.fsencode(workdir) + b"/caf\xe9.txt")).write_bytes(b"text")
    with pytest.raises(ConfigError, match=r"caf\\udce9\.txt' has a name that is not UTF-8"):
        source_at(".")


def test_the_bundled_author_is_a_source_of_whole_rows(workdir: Path) -> None:
    source = source_at(BUNDLED)
    rows = list(read_rows(source))
    assert len(rows) >= 200 and rows[0][0] == "author.jsonl:1"
    assert all(row["instruction"] and row["output"] for _, row in rows)
    assert [file.path for file in source.files] == [""]
    (here,) = source.local_files()
    copy = Path(shutil.copy(here[0], "copy.jsonl"))
    assert here == (here[0], file_sha256(copy))
    assert source_at("copy.jsonl").identity == source.identity


def test_a_folder_gives_its_known_files_by_relative_path() -> None:
    for name in ("b.jsonl", "a/z.md", "a/c.csv.gz", "a.txt", "a/d/e.PARQUET"):
        put_file(f"posts/{name}", b"x")
    for name in (".hidden.jsonl", ".git/x.md", "a/.x/y.md", "photo.jpg", "a/notes.docx", "README"):
        put_file(f"posts/{name}", b"x")
    source = source_at("posts/")
    expected = ["a.txt", "a/c.csv.gz", "a/d/e.PARQUET", "a/z.md", "b.jsonl"]
    assert names_of(source) == [f"posts/{name}" for name in expected]
    assert [file.title for file in source.files] == ["a", "", "", "z", ""]
    assert (source.name, source.locator) == ("posts", "posts/")


def test_a_folder_s_places_are_relative_to_it() -> None:
    put_file("posts/a/b.jsonl", ROW + ROW)
    put_file("posts/my-day.md", b"# Day")
    assert places_of(source_at("posts")) == ["a/b.jsonl:1", "a/b.jsonl:2", "my-day.md"]
    assert places_of(source_at("./posts/../posts/a/")) == ["b.jsonl:1", "b.jsonl:2"]


def test_the_working_folder_is_a_folder(workdir: Path) -> None:
    put_file("posts/a.md")
    assert (source_at(".").name, places_of(source_at("."))) == ("here", ["posts/a.md"])


def test_links_are_followed_and_cycles_end(workdir: Path) -> None:
    put_file("../elsewhere/one.jsonl")
    put_file("../more/two.jsonl")
    put_file("posts/own.jsonl")
    links = {"a.jsonl": "../../elsewhere/one.jsonl", "more": "../../more", "up": "..", "self": "self", "gone.md": "no"}
    for name, target in links.items():
        Path("posts", name).symlink_to(target)
    Path("../more/back").symlink_to(workdir / "posts")
    assert names_of(source_at("posts")) == ["posts/a.jsonl", "posts/more/two.jsonl", "posts/own.jsonl"]


def test_a_folder_without_anything_to_read_says_what_is_there() -> None:
    for name in ("a.docx", "b.docx", "c.jpg"):
        put_file(f"posts/{name}")
    with pytest.raises(
        ConfigError, match=r"posts holds nothing that can be read; there is: 2 \.docx, 1 \.jpg"
    ) as caught:
        source_at("posts")
    assert ".jsonl" in caught.value.hint
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match="empty holds nothing that can be read; there is: no file"):
        source_at("empty")


def test_a_folder_that_may_not_be_read_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    put_file("posts/a.jsonl")
    walk = os.walk

    def shut(top: str, *, onerror: Callable[[OSError], None], **options: Any) -> Iterator[Any]:
        onerror(PermissionError(13, "Permission denied", "posts/b"))
        return walk(top, **options)

    monkeypatch.setattr(os, "walk", shut)
    with pytest.raises(ConfigError, match="posts cannot be read: Permission denied"):
        source_at("posts")


def test_a_glob_gives_its_matches_in_order() -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt", "deep/d.jsonl"):
        put_file(f"posts/{name}")
    assert names_of(source_at("posts/*.jsonl")) == ["posts/a.jsonl", "posts/b.jsonl"]
    assert names_of(source_at("posts/[ab].jsonl")) == ["posts/a.jsonl", "posts/b.jsonl"]
    deep = source_at("posts/**/*.jsonl")
    assert names_of(deep) == ["posts/a.jsonl", "posts/b.jsonl", "posts/deep/d.jsonl"]
    assert places_of(deep) == ["a.jsonl:1", "b.jsonl:1", "deep/d.jsonl:1"]


def test_a_path_that_exists_is_no_glob() -> None:
    put_file("posts[1].jsonl")
    put_file("posts1.jsonl")
    source = source_at("posts[1].jsonl")
    assert (source.name, names_of(source)) == ("posts[1].jsonl", ["posts[1].jsonl"])


@pytest.mark.parametrize("locator", ["*.jsonl", "posts/*.md", "./a/b:train[:3]"])
def test_a_glob_without_a_match_is_refused(asked_datasets: list[Any], locator: str) -> None:
    with pytest.raises(ConfigError, match="no file matches") as caught:
        source_at(locator)
    assert locator in caught.value.message and asked_datasets == []


def test_a_glob_with_nothing_to_read_says_what_is_there() -> None:
    put_file("posts/a.docx")
    with pytest.raises(ConfigError, match=r"posts/\* holds nothing that can be read; there is: 1 \.docx"):
        source_at("posts/*")
