"""Names of the Hub, and several sources beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import OTHER, ROW, SHA, pipe, put_file, resolve, source_at
from twinctl import hub
from twinctl.data.source import BUNDLED, Source, read_rows
from twinctl.errors import ConfigError, HubError


def test_a_name_that_is_no_path_is_a_hub_id(asked_datasets: list[Any]) -> None:
    source = source_at("owner/name")
    assert (source.files, source.repo, source.split, source.sha) == ((), "owner/name", "train", SHA)
    assert asked_datasets == [("owner/name", None)]


@pytest.mark.parametrize("name", ["owner/name", "owner/name.json", "owner/folder"])
def test_hf_forces_the_hub(asked_datasets: list[Any], name: str) -> None:
    for path in ("owner/name", "owner/name.json", "owner/folder/rows.jsonl"):
        put_file(path)
    assert (source_at(f"hf:{name}").repo, asked_datasets) == (name, [(name, None)])


@pytest.mark.parametrize(
    ("locator", "repo", "split"),
    [
        ("a/b:test", "a/b", "test"),
        ("mlabonne/FineTome-Alpaca-100k:train[:10000]", "mlabonne/FineTome-Alpaca-100k", "train[:10000]"),
        ("hf:a-1/b_2.c:train[10%:]+test", "a-1/b_2.c", "train[10%:]+test"),
    ],
)
def test_a_split_follows_the_hub_id(asked_datasets: list[Any], locator: str, repo: str, split: str) -> None:
    assert [source_at(locator).repo, source_at(locator).split] == [repo, split]


def test_split_and_revision_beside_the_id(asked_datasets: list[Any]) -> None:
    source = source_at("a/b", split="test[:5]", revision="v2")
    assert (source.split, source.revision, asked_datasets) == ("test[:5]", "v2", [("a/b", "v2")])
    assert source_at("a/b:test", split="test").split == "test"
    with pytest.raises(ConfigError, match="a/b:train names a split, and split names another: test"):
        source_at("a/b:train", split="test")


@pytest.mark.parametrize("asked_for", [{"split": "train"}, {"revision": "main"}])
def test_a_file_has_neither_split_nor_revision(asked_for: dict[str, str]) -> None:
    put_file("posts.jsonl")
    with pytest.raises(ConfigError, match=r"posts\.jsonl is not a data set on the Hub"):
        source_at("posts.jsonl", **asked_for)


def test_a_pinned_commit_is_kept_until_it_is_refreshed(asked_datasets: list[Any]) -> None:
    pins = [
        {"repo": None, "sha": None, "locator": "posts.jsonl", "path": "posts.jsonl"},
        Source("author", "a/c", "a/c", repo="a/c", sha="3" * 40).stored(),
        Source("author", "a/b", "a/b", repo="a/b", revision="v2", sha="4" * 40).stored(),
        Source("author", "a/b", "a/b:train", repo="a/b", split="train", sha=OTHER).stored(),
    ]
    (source,) = resolve("a/b:test", pinned=pins)
    assert (source.sha, source.split, asked_datasets) == (OTHER, "test", [])
    (source,) = resolve({"source": "a/b", "revision": "v2"}, pinned=pins)
    assert (source.sha, asked_datasets) == ("4" * 40, [])
    (source,) = resolve({"source": "a/b", "revision": "v3"}, pinned=pins)
    assert (source.sha, asked_datasets) == (SHA, [("a/b", "v3")])
    (source,) = resolve("a/b:test", pinned=pins, refresh=True)
    assert source.sha == SHA


def test_a_hub_that_refuses_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise HubError("no connection", "wait")

    monkeypatch.setattr(hub, "resolve_dataset", refuse)
    with pytest.raises(HubError):
        source_at("a/b")


def test_hub_rows_have_places(asked_datasets: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def rows(*request: str) -> Iterator[dict[str, int]]:
        seen.append(request)
        return iter([{"n": number} for number in range(5)])

    monkeypatch.setattr(hub, "dataset_rows", rows)
    assert list(read_rows(source_at("hf:a/b:test", limit=2))) == [("a/b row 1", {"n": 0}), ("a/b row 2", {"n": 1})]
    assert seen == [("a/b", SHA, "test")]


def test_two_sources_of_one_name_are_told_apart(asked_datasets: list[Any]) -> None:
    put_file("one/posts.jsonl")
    put_file("two/posts.jsonl", ROW * 2)
    put_file("alone.md")
    wanted = ["one/posts.jsonl", "two/posts.jsonl", "alone.md", "a/b", {"source": "a/b", "split": "test"}, "c/d"]
    names = [source.name for source in resolve(*wanted)]
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
def test_a_source_is_given_once(asked_datasets: list[Any], pair: tuple[Any, Any]) -> None:
    put_file("posts.jsonl")
    put_file("folder/a.md")
    Path("link.jsonl").symlink_to("posts.jsonl")
    with pytest.raises(ConfigError, match="is given twice") as caught:
        resolve(*pair)
    assert "weight" in caught.value.hint


def test_standard_input_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, ROW)
    with pytest.raises(ConfigError, match="- is given twice"):
        resolve("-", "-")
