"""A model's name is settled to a commit and digests without its weights, and its files come once."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from tests.support.hub_client import Client
from tests.support.hub_server import HubStandIn

TOKEN = "hf_" + "S" * 34
SHARDS = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 4096 for n in (1, 2)}
CONFIG = {
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',  # large on the real Hub, and so on the stand-in
    "tokenizer_config.json": b'{"eos_token": "</s>"}',
}
INDEX = {"model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode()}
OTHER = {"README.md": b"# A model", "original/model.safetensors": b"another form", "pytorch_model.bin": b"pickle"}
MODEL = {**SHARDS, **CONFIG, **INDEX, **OTHER}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in {**SHARDS, **CONFIG}.items()}


def blobs(hub: HubStandIn) -> list[str]:
    """The large files that were downloaded, by digest."""
    return [seen.path.removeprefix("/blob/") for seen in hub.seen if seen.path.startswith("/blob/")]


def test_identity_without_downloading_a_weight(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("models", "author/base", MODEL)
    found = client.ask('call(hub.resolve_model, "author/base", None)')
    assert found == {"repo_id": "author/base", "sha": sha, "files": DIGESTS}
    assert blobs(hub) == []


def test_a_mirror_is_the_same_model(hub: HubStandIn, client: Client) -> None:
    hub.add("models", "author/base", MODEL)
    hub.add("models", "mirror/base", {**MODEL, "README.md": b"# A mirror"})
    code = 'for name in ("author/base", "mirror/base"): show(hub.resolve_model(name).files)'
    assert client.run(code).values == [DIGESTS, DIGESTS]


def test_a_branch_and_a_commit(hub: HubStandIn, client: Client) -> None:
    first = hub.add("models", "author/base", MODEL)
    second = hub.repos["models", "author/base"].commit({**MODEL, "config.json": b"{}"}, "next/one")
    code = f'for rev in ("next/one", "{second}", "{first}", None): show(hub.resolve_model("author/base", rev).sha)'
    assert client.run(code).values == [second, second, first, first]


def test_the_files_come_once_and_only_those_needed(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("models", "author/base", MODEL)
    code = f"""
for weights in (False, True):
    folder = hub.download_model("author/base", "{sha}", weights=weights)
    show(sorted(path.name for path in folder.iterdir()))
"""
    without, with_weights = client.run(code).values
    assert without == sorted([*CONFIG, "README.md"])
    assert with_weights == sorted([*CONFIG, "README.md", *SHARDS, *INDEX])
    assert sorted(blobs(hub)) == sorted(DIGESTS[name] for name in (*SHARDS, "tokenizer.json"))


def test_a_complete_copy_needs_no_network(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("models", "author/base", MODEL)
    download = f'call(hub.download_model, "author/base", "{sha}", weights=True)'
    resolve = 'call(hub.resolve_model, "author/base", None)'
    folder, online = client.run(f"show({download}); show({resolve})").values
    hub.stop()
    assert client.ask(download) == folder
    assert client.ask(resolve)["error"] == "HubError"  # a branch may have moved: it is not guessed
    offline = client.run(f"show({download}); show({resolve})", HF_HUB_OFFLINE="1").values
    assert offline == [folder, online]


def test_a_snapshot_with_a_hole_is_not_complete(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("models", "author/base", MODEL)
    download = f'call(hub.download_model, "author/base", "{sha}", weights=True)'
    hole = Path(client.ask(download), next(iter(SHARDS)))
    hole.unlink()
    refused = client.ask(download, HF_HUB_OFFLINE="1")
    assert refused["error"] == "HubError" and "not complete in the local cache" in refused["message"]
    client.ask(download)
    assert hole.read_bytes() == SHARDS[hole.name]


def test_resolving_does_not_pass_for_a_download(hub: HubStandIn, client: Client) -> None:
    """Identity leaves small files in the cache; the tokenizer, which is large, must still be fetched."""
    hub.add("models", "author/base", MODEL)
    code = """
found = hub.resolve_model("author/base")
show(sorted(path.name for path in hub.download_model(found.repo_id, found.sha, weights=False).iterdir()))
"""
    assert client.run(code).values == [sorted([*CONFIG, "README.md"])]


def test_a_cache_that_another_tool_filled_serves_offline(hub: HubStandIn, client: Client) -> None:
    hub.add("models", "author/base", MODEL)
    names = [*CONFIG, *SHARDS, *INDEX]
    client.run(f"import huggingface_hub as h\nfor name in {names}: h.hf_hub_download('author/base', name)")
    found = client.ask('call(hub.resolve_model, "author/base", None)', HF_HUB_OFFLINE="1")
    assert found["files"] == DIGESTS


def test_the_token_stays_with_the_hub(hub: HubStandIn, client: Client) -> None:
    hub.tokens.add(TOKEN)
    sha = hub.add("models", "author/secret", MODEL, private=True, gated=True, readers={TOKEN})
    answer = client.run(f'show(hub.download_model("author/secret", "{sha}", weights=True))', HF_TOKEN=TOKEN)
    assert {seen.authorization for seen in hub.seen if "/resolve/" in seen.path} == {f"Bearer {TOKEN}"}
    assert {seen.authorization for seen in hub.seen if seen.host == "localhost"} == {None}
    assert TOKEN not in answer.stdout + answer.stderr


def test_no_weights_is_an_error(hub: HubStandIn, client: Client) -> None:
    hub.add("models", "author/base", {**CONFIG, "pytorch_model.bin": b"pickle"})
    found = client.ask('call(hub.resolve_model, "author/base", None)')
    assert (found["exit"], "no *.safetensors" in found["message"]) == (7, True)


def test_importing_the_room_is_cheap() -> None:
    code = "import sys, twinctl.hub; print({'huggingface_hub', 'datasets', 'httpx', 'torch'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root).stdout.strip() == "set()"
    )
