"""`twinctl prepare` with its model and data on the Hub: pinned once, cached after, refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_client import Client
from tests.support.hub_server import Fault, HubStandIn
from twinctl.bundled import AUTHOR_ROWS, BASE

MODEL = {path.name: path.read_bytes() for path in BASE.iterdir()}
DATA = {"train.jsonl": AUTHOR_ROWS.read_bytes()}
PREPARE = ("prepare", "--preset", "tiny", "--model", "meta-llama/Llama-3.1-8B", "-d", "author/posts:train[:100]")


def twinctl(client: Client, *words: str, code: int = 0, **env: str) -> dict[str, Any]:
    """The command's document."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-m", "twinctl.cli.app", *words, "--json"]
    done = subprocess.run(
        command,
        cwd=client.home,
        env={**kept, **client.env, **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_hub_rows_and_model_are_prepared_and_pinned(hub: HubStandIn, client: Client) -> None:
    hub.add("models", "meta-llama/Llama-3.1-8B", MODEL)
    sha = hub.add("datasets", "author/posts", DATA)
    document = twinctl(client, *PREPARE)
    assert document["metrics"]["rows_read"] == 100
    (run,) = twinctl(client, "runs")["runs"]
    assert run["pins"]["sources"][0]["sha"] == sha
    weights = [seen for seen in hub.seen if seen.method == "GET" and seen.path.endswith("model.safetensors")]
    assert not weights, "prepare needs no weights"

    # New rows on the Hub change nothing until --refresh, and a cached prepare asks nothing of the network.
    hub.repos["datasets", "author/posts"].commit({"train.jsonl": b"\n".join(AUTHOR_ROWS.read_bytes().split(b"\n")[5:])})
    asked = len(hub.seen)
    assert twinctl(client, *PREPARE)["cached"] is True
    assert len(hub.seen) == asked
    again = twinctl(client, *PREPARE, "--refresh")
    assert again["cached"] is False
    assert again["fingerprint"] != document["fingerprint"]


def test_the_same_files_elsewhere_are_the_same_model(hub: HubStandIn, client: Client, tmp_path: Path) -> None:
    hub.add("models", "meta-llama/Llama-3.1-8B", MODEL)
    hub.add("models", "mirror/llama", MODEL)
    hub.add("datasets", "author/posts", DATA)
    first = twinctl(client, *PREPARE)
    elsewhere = [*PREPARE]
    for place in ("mirror/llama", str(BASE)):
        elsewhere[4] = place
        found = twinctl(client, *elsewhere)
        assert (found["cached"], found["fingerprint"]) == (True, first["fingerprint"]), place


def test_a_gated_model_names_the_page_and_the_ways_on(hub: HubStandIn, client: Client) -> None:
    hub.add("models", "meta-llama/Llama-3.1-8B", MODEL, gated=True)
    hub.add("datasets", "author/posts", DATA)
    error = twinctl(client, *PREPARE, code=7)["error"]
    told = error["message"] + error["hint"]
    assert "meta-llama/Llama-3.1-8B" in told
    assert "HF_TOKEN" in told
    assert "--model" in told
    assert "/meta-llama/Llama-3.1-8B" in told


@pytest.mark.parametrize("split", ["trian", "train[:x]"])
def test_a_split_that_is_not_there_is_bad_data(hub: HubStandIn, client: Client, split: str) -> None:
    hub.add("models", "meta-llama/Llama-3.1-8B", MODEL)
    hub.add("datasets", "author/posts", DATA)
    words = [*PREPARE[:-1], f"author/posts:{split}"]
    assert twinctl(client, *words, code=3)["error"]["code"] == "ConfigError"


def test_no_network_and_nothing_cached_is_said_within_seconds(client: Client, hub: HubStandIn) -> None:
    hub.stop()
    error = twinctl(client, *PREPARE, code=7)["error"]
    assert error["code"] == "HubError"
    assert error["hint"]


TRAIN = ("train", "--max-steps", "2")


@pytest.mark.parametrize("what", ["model", "rows"])
@pytest.mark.parametrize("how", ["missing", "private", "unwell", "hanging"])
def test_what_cannot_be_had_is_said_within_seconds(hub: HubStandIn, client: Client, what: str, how: str) -> None:
    rights = {"private": True} if how == "private" else {}
    if how != "missing" or what != "model":
        hub.add("models", "meta-llama/Llama-3.1-8B", MODEL, **(rights if what == "model" else {}))
    if how != "missing" or what != "rows":
        hub.add("datasets", "author/posts", DATA, **(rights if what == "rows" else {}))
    place = "/api/models/" if what == "model" else "/api/datasets/"
    if how in ("unwell", "hanging"):
        hub.faults = [Fault("GET", place, times=99, status=503, hang=how == "hanging")]
    began = time.monotonic()
    error = twinctl(client, *PREPARE, code=7)["error"]
    assert time.monotonic() - began < 20
    name = "meta-llama/Llama-3.1-8B" if what == "model" else "author/posts"
    told = {"unwell": "returned 503", "hanging": "no answer in time"}.get(how, f"{name} on the Hub")
    assert told in error["message"]
    assert error["hint"]


@pytest.mark.parametrize("how", ["offline", "unreachable", "gated", "gone"])
def test_train_says_at_once_why_it_has_no_weights(hub: HubStandIn, client: Client, how: str) -> None:
    hub.add("models", "meta-llama/Llama-3.1-8B", MODEL)
    hub.add("datasets", "author/posts", DATA)
    twinctl(client, *PREPARE)
    env = {"HF_HUB_OFFLINE": "1"} if how == "offline" else {}
    if how == "unreachable":
        hub.stop()
    elif how == "gated":
        hub.repos["models", "meta-llama/Llama-3.1-8B"].gated = True
    elif how == "gone":
        del hub.repos["models", "meta-llama/Llama-3.1-8B"]
    began = time.monotonic()
    error = twinctl(client, *TRAIN, code=7, **env)["error"]
    assert time.monotonic() - began < 20
    told = {
        "offline": "not complete in the local cache",
        "unreachable": "Cannot reach the Hub",
        "gated": "is gated",
        "gone": "There is no model meta-llama/Llama-3.1-8B",
    }
    assert told[how] in error["message"]
    assert how != "gated" or f"{hub.url}/meta-llama/Llama-3.1-8B" in error["hint"]


def test_a_cached_copy_serves_with_no_network(hub: HubStandIn, client: Client) -> None:
    sha = hub.add("models", "meta-llama/Llama-3.1-8B", MODEL)
    hub.add("datasets", "author/posts", DATA)
    first = twinctl(client, *PREPARE)
    client.run(f'hub.download_model("meta-llama/Llama-3.1-8B", "{sha}", weights=True)')
    hub.stop()
    for env in ({"HF_HUB_OFFLINE": "1"}, {}):
        assert twinctl(client, *PREPARE, **env)["cached"] is True
        found = client.ask(f'str(hub.download_model("meta-llama/Llama-3.1-8B", "{sha}", weights=True))', **env)
        assert Path(found, "model.safetensors").is_file()
    again = twinctl(client, *PREPARE, "--run", "other", HF_HUB_OFFLINE="1")
    assert again["fingerprint"] == first["fingerprint"]
