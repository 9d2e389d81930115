"""Rows are those of the commit asked for, and of no other copy."""

from __future__ import annotations

from tests.support.hub_client import Client
from tests.support.hub_server import HubStandIn, jsonl

ROWS = [{"text": f"row {n}"} for n in range(20)]
FILES = {"train.jsonl": jsonl(ROWS), "test.jsonl": jsonl(ROWS[:2]), "README.md": b"# Posts\n"}


def test_rows_slices_and_splits(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("datasets", "author/posts", FILES)
    # A folder of the same name in the working directory is not the dataset.
    impostor = client.home / "author" / "posts"
    impostor.mkdir(parents=True)
    (impostor / "train.jsonl").write_bytes(jsonl([{"text": "impostor"}]))
    code = """
sha = hub.resolve_dataset("author/posts")
show(sha)
for split in ("train", "train[:3]", "test", "train[5:7]+test"):
    show(list(hub.dataset_rows("author/posts", sha, split)))
"""
    answer = client.run(code)
    assert answer.values == [sha, ROWS, ROWS[:3], ROWS[:2], ROWS[5:7] + ROWS[:2]]
    assert answer.stderr == ""


def test_a_split_that_is_not_there(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("datasets", "author/posts", FILES)
    code = f'for split in ("trian[:3]", "train[:x]"): show(call(hub.dataset_rows, "author/posts", "{sha}", split))'
    unknown, unreadable = client.run(code).values
    assert (unknown["error"], unknown["exit"]) == ("ConfigError", 3)
    assert "trian" in unknown["message"] and "train, test" in unknown["hint"]
    assert unknown["hint"].startswith("Did you mean “train”?") and "mean" not in unreadable["hint"]
    assert (unreadable["error"], unreadable["exit"]) == ("ConfigError", 3)


def test_an_unknown_split_downloads_no_rows(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("datasets", "author/posts", FILES)
    client.ask(f'call(hub.dataset_rows, "author/posts", "{sha}", "nope")')
    assert not [seen for seen in hub.seen if seen.method == "GET" and seen.path.endswith(".jsonl")]


def test_offline_gives_the_cached_commit_and_no_other(hub: HubStandIn, client: Client) -> None:
    first = hub.add("datasets", "author/posts", FILES)
    client.run('sha = hub.resolve_dataset("author/posts"); hub.dataset_rows("author/posts", sha, "train")')
    second = hub.repos["datasets", "author/posts"].commit({"train.jsonl": jsonl(ROWS[:1])})
    code = f"""
show(call(hub.resolve_dataset, "author/posts", None))
show(list(hub.dataset_rows("author/posts", "{first}", "train[:1]")))
show(call(hub.dataset_rows, "author/posts", "{second}", "train"))
"""
    sha, rows, refused = client.run(code, HF_HUB_OFFLINE="1").values
    assert (sha, rows) == (first, ROWS[:1])
    assert refused["error"] == "HubError" and second in refused["message"]


def test_a_hub_that_is_away_serves_the_cached_commit_and_no_other(hub: HubStandIn, client: Client) -> None:
    shas = [hub.add("datasets", "author/CamelPosts", FILES)]
    shas.append(hub.repos["datasets", "author/CamelPosts"].commit({"train.jsonl": jsonl(ROWS[:1])}))
    ask = "[list(hub.dataset_rows('author/CamelPosts', sha, 'train')) for sha in {}]"
    assert client.ask(ask.format(shas)) == [ROWS, ROWS[:1]]
    hub.stop()
    code = f"""
show({ask.format(shas)})
show(call(hub.dataset_rows, 'author/CamelPosts', '{shas[0]}', 'tests'))
show(call(hub.dataset_rows, 'author/CamelPosts', '{"0" * 40}', 'train'))
show(call(hub.resolve_dataset, 'author/CamelPosts'))
"""
    answer = client.run(code)
    rows, misspelt, other, unpinned = answer.values
    assert rows == [ROWS, ROWS[:1]]
    assert misspelt["hint"].startswith("Did you mean “test”?")
    assert [(found["error"], found["exit"]) for found in (other, unpinned)] == [("HubError", 7)] * 2
    assert answer.stderr == "" and answer.seconds < 30


def test_nested_columns_come_as_they_are(hub: HubStandIn, client: Client) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}"}], "meta": {"n": n, "tags": ["x"]}} for n in range(600)]
    sha = hub.add("datasets", "author/talks", {"train.jsonl": jsonl(rows)})
    assert client.ask(f"list(hub.dataset_rows('author/talks', '{sha}', 'train'))") == rows


def test_a_data_set_that_is_gated_private_or_missing(hub: HubStandIn, client: Client) -> None:
    hub.add("datasets", "author/gated", FILES, gated=True)
    hub.add("datasets", "author/private", FILES, private=True)
    names = ["author/gated", "author/private", "author/missing"]
    values = client.run(f"for name in {names}: show(call(hub.resolve_dataset, name))").values
    assert [(value["error"], value["exit"]) for value in values] == [("HubError", 7)] * 3
    for name, value in zip(names, values, strict=True):
        assert name in value["message"] and "HF_TOKEN" in value["hint"]


def test_files_that_are_no_rows(hub: HubStandIn, client: Client) -> None:
    bad = hub.add("datasets", "author/broken", {"train.jsonl": jsonl(ROWS) + b'{"text": \n'})
    none = hub.add("datasets", "author/empty", {"README.md": b"# Nothing\n"})
    card = b"---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n---\n"
    two = hub.add("datasets", "author/two", {"README.md": card, "a.jsonl": jsonl(ROWS), "b.jsonl": jsonl(ROWS)})
    shas = {"author/broken": bad, "author/empty": none, "author/two": two}
    values = client.run(f"for name, sha in {shas}.items(): show(call(hub.dataset_rows, name, sha, 'train'))").values
    assert [(value["error"], value["exit"]) for value in values] == [("ConfigError", 3)] * 3
    assert [name in value["message"] for name, value in zip(shas, values, strict=True)] == [True] * 3
