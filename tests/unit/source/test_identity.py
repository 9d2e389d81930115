"""What identifies a source, and what changed since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import ROW, SHA, put_file, resolve, source_at
from twinctl.data.source import Source, source_changes, with_unique_names
from twinctl.errors import ConfigError
from twinctl.workspace.memo import DigestMemo


def test_a_file_s_identity_is_its_content_not_its_place() -> None:
    put_file("one.jsonl")
    put_file("far/two.jsonl")
    put_file("other.jsonl", ROW + b"\n")
    one, two, other = (source_at(name).identity for name in ("one.jsonl", "far/two.jsonl", "other.jsonl"))
    assert one == two != other
    assert "one" not in json.dumps(one)


def test_a_folder_s_identity_is_its_files_in_order() -> None:
    put_file("one/a.jsonl")
    put_file("one/b/c.jsonl", ROW * 2)
    put_file("two/x.jsonl")
    put_file("two/y.jsonl", ROW * 2)
    put_file("three/a.jsonl", ROW * 2)
    put_file("three/b.jsonl")
    one, two, three = (source_at(name).identity for name in ("one", "two", "three"))
    assert one == two != three


def test_what_enters_the_rows_of_a_document_enters_its_identity() -> None:
    for name in ("a.md", "far/a.md", "b.md", "a.txt"):
        put_file(name, b"# Text")
    first, moved, retitled, other_kind = (source_at(name).identity for name in ("a.md", "far/a.md", "b.md", "a.txt"))
    assert first == moved
    assert len({json.dumps(identity) for identity in (first, retitled, other_kind)}) == 3


def test_the_same_bytes_read_another_way_are_another_source() -> None:
    put_file("a.csv", b"a\tb,c\n1\t2,3\n")
    put_file("a.tsv", b"a\tb,c\n1\t2,3\n")
    assert source_at("a.csv").identity != source_at("a.tsv").identity


def test_what_is_asked_beside_the_defaults_is_part_of_the_identity(asked_datasets: list[Any]) -> None:
    put_file("posts.jsonl")
    plain = source_at("posts.jsonl", limit=None, weight=1, map=()).identity
    assert set(plain) == {"role", "files"} and set(source_at("a/b").identity) == {"role", "repo", "sha", "split"}
    options: list[dict[str, Any]] = [{"limit": 1}, {"weight": 0.5}, {"map": ["instruction=q"]}]
    identities = [plain, *(source_at("posts.jsonl", **option).identity for option in options)]
    (general,) = resolve("posts.jsonl", role="general")
    assert len({json.dumps(identity) for identity in [*identities, general.identity]}) == 5


@pytest.mark.parametrize("wanted", [{"source": "posts", "limit": 3, "weight": 0.5, "map": ["a=b"]}, {"source": "a/b"}])
def test_a_source_survives_being_stored(asked_datasets: list[Any], wanted: dict[str, Any]) -> None:
    put_file("posts/a.md")
    put_file("posts/b.jsonl")
    (source,) = resolve(wanted)
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


def test_what_changed_in_a_folder_is_named() -> None:
    for name in ("a.md", "b.md", "deep/c.jsonl"):
        put_file(f"posts/{name}")
    memo = DigestMemo(Path("../digests.json"))
    folder, matched, one = source_at("posts"), source_at("posts/*.md"), source_at("posts/b.md")
    assert [source_changes(source, memo) for source in (folder, matched, one)] == [[], [], []]
    put_file("posts/b.md", b"other")
    put_file("posts/deep/d.txt")
    Path("posts/a.md").unlink()
    Path("posts/photo.jpg").touch()
    assert source_changes(folder, memo) == ["b.md changed", "deep/d.txt is new", "a.md is gone"]
    assert source_changes(matched, memo) == ["b.md changed", "a.md is gone"]
    assert source_changes(one, memo) == ["b.md changed"]
    shutil.rmtree("posts")
    assert [source_changes(source, memo) for source in (folder, matched, one)] == [[], [], []]  # as on another machine


def test_another_folder_of_the_same_name_is_not_the_one_that_was_read(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file("posts/a.md")
    put_file("../there/posts/b.md")
    source = source_at("posts")
    monkeypatch.chdir("../there")
    assert source_changes(source, DigestMemo(Path("digests.json"))) == []
    put_file(str(workdir / "posts/a.md"), b"other")
    assert source_changes(source, DigestMemo(Path("digests.json"))) == ["a.md changed"]


def test_sources_of_one_name_are_told_apart_whosever_they_are() -> None:
    put_file("mine/posts.jsonl")
    put_file("others/posts.jsonl", ROW + ROW)
    author, general = source_at("mine/posts.jsonl"), resolve("others/posts.jsonl", role="general")[0]
    assert [source.name for source in with_unique_names([author, general])] == [
        "mine/posts.jsonl",
        "others/posts.jsonl",
    ]
    with pytest.raises(ConfigError, match="given twice"):
        with_unique_names([author, *resolve("./mine/posts.jsonl", role="general")])
