"""A folder sent and read back by the real client, by LFS and by Xet: whatever its files are called and hold."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.hub_client import TOKEN, Client
from tests.support.hub_publish import CODE
from tests.support.hub_server import Fault, HubStandIn, sha256
from tests.support.waiting import hashes_of

FILES = {
    "README.md": b"# a twin\n",
    "empty.json": b"",
    "with space.json": b"{}",
    "ünïcode – name.txt": "Grüße\n".encode(),
    "deep/er/still.json": b"[1]",
    "brackets[1].json": b"[]",
    "one.safetensors": random.Random(1).randbytes(100_000),
    "two parts.gguf": random.Random(2).randbytes(250_001),
    "größe.safetensors": random.Random(3).randbytes(65_536),
    "twice.safetensors": random.Random(1).randbytes(100_000),
}


@pytest.fixture
def stage(client: Client, hub: HubStandIn) -> Path:
    folder = client.home / "stage"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    hub.account(TOKEN, "me")
    client.env |= {"HF_TOKEN": TOKEN}
    return folder


@pytest.fixture(params=["lfs", "xet"])
def path(request: pytest.FixtureRequest, hub: HubStandIn, client: Client, stage: Path, tmp_path: Path) -> str:
    """Which way large files go."""
    if request.param == "xet":
        hub.cas = str(tmp_path / "cas")
        hub.xet_hashes = hashes_of(path for path in stage.rglob("*") if path.is_file())
    else:
        client.env["HF_HUB_DISABLE_XET"] = "1"
        hub.chunk = 100_000
    return str(request.param)


def test_every_byte_arrives_and_comes_back(hub: HubStandIn, client: Client, path: str) -> None:
    found = client.run(CODE + "show(call(send))").values[0]
    repo = hub.repos["models", "me/twin"]
    assert (found["sha"], found["private"], repo.private) == (repo.refs["main"], True, True)
    sent = {name: sha256(data) for name, data in repo.files("main").items() if name != ".gitattributes"}
    assert sent == {name: sha256(data) for name, data in FILES.items()}
    if path == "lfs":
        assert any(seen.path.endswith("/3") for seen in hub.seen if seen.method == "PUT"), "in parts"
    code = """
from huggingface_hub import snapshot_download
folder = Path(snapshot_download("me/twin", local_dir="back"))
import hashlib
show({p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
      for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts})
"""
    back = client.run("from pathlib import Path\n" + code).values[0]
    assert {**sent, ".gitattributes": back[".gitattributes"]} == back
    assert {seen.authorization for seen in hub.seen if seen.host == "localhost"} <= {None}


def test_unchanged_files_are_not_sent_again(hub: HubStandIn, client: Client, path: str, stage: Path) -> None:
    client.run(CODE + "show(call(send))")
    (stage / "one.safetensors").write_bytes(b"another")
    if path == "xet":
        hub.xet_hashes |= hashes_of([stage / "one.safetensors"])
    before = len(hub.seen)
    client.run(CODE + 'show(call(send, gone=["brackets[1].json", "with space.json"]))')
    files = hub.repos["models", "me/twin"].files("main")
    assert "with space.json" not in files or (stage / "with space.json").exists()
    puts = [seen.path for seen in hub.seen[before:] if seen.method == "PUT"]
    assert puts == ([f"/put/{sha256(b'another')}"] if path == "lfs" else [])
    assert sha256(files["one.safetensors"]) == sha256(b"another")


def test_what_is_gone_here_goes_there(hub: HubStandIn, client: Client, path: str, stage: Path) -> None:
    client.run(CODE + "show(call(send))")
    (stage / "brackets[1].json").unlink()
    hub.repos["models", "me/twin"].commit({**hub.repos["models", "me/twin"].files("main"), "brackets1.json": b"theirs"})
    found = client.run(CODE + 'show(call(send, gone=["brackets[1].json"]))').values[0]
    assert "sha" in found, found
    files = hub.repos["models", "me/twin"].files("main")
    assert "brackets[1].json" not in files
    assert files["brackets1.json"] == b"theirs"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("POST", "/preupload/", status=503), "the Hub answered 503; trying again"),
        (
            Fault("POST", "/preupload/", status=429, headers={"Retry-After": "2"}),
            "the Hub asks to slow down; trying again",
        ),
        (Fault("PUT", "^/put/", drop=20_000), "the connection broke; trying again"),
        (Fault("PUT", "^/put/", status=500), "the Hub answered 500; trying again"),
        (Fault("PUT", "^/put/", hang=True), "no answer in time; trying again"),
        (Fault("POST", "/objects/batch", drop=10), "the connection broke; trying again"),
    ],
    ids=["503", "429", "dropped", "500", "hang", "dropped-batch"],
)
def test_what_passes_is_waited_for_and_told(
    hub: HubStandIn, client: Client, stage: Path, fault: Fault, told: str
) -> None:
    client.env["HF_HUB_DISABLE_XET"] = "1"
    hub.faults = [fault]
    done = client.run(CODE + "show(call(send)); show(said)")
    assert "sha" in done.values[0], done.values
    assert any(told in line for line in done.values[1]), done.values[1]
    assert not any("http" in line for line in done.values[1]), "no address, which may be signed"
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("GET", "/whoami", status=401), "does not accept the token (401)"),
        (Fault("POST", "/repos/create", status=403), "does not let this token write to me/twin (403)"),
        (Fault("POST", "/preupload/", status=403), "does not let this token write to me/twin (403)"),
        (
            Fault("POST", "/commit/", status=403, words="Private storage limit reached"),
            "has no room left for me/twin (403)",
        ),
        (Fault("POST", "/preupload/", status=404), "There is no model me/twin on the Hub"),
        (Fault("POST", "/commit/", status=409), "Somebody else is changing me/twin at this moment (409)"),
        (Fault("POST", "/commit/", status=412), "was changed while this was being sent (412)"),
        (Fault("POST", "/commit/", status=413), "larger than the Hub takes (413)"),
        (Fault("PUT", "^/put/", status=413), "larger than the Hub takes (413)"),
        (Fault("POST", "/commit/", status=500, times=9), "The Hub returned 500"),
        (Fault("POST", "/commit/", hang=True, times=9), "Cannot reach the Hub at 127.0.0.1 (no answer in time)"),
    ],
    ids=["401", "403-create", "403", "403-full", "404", "409", "412", "413", "413-blob", "500", "hang"],
)
def test_what_stops_a_push_is_said(hub: HubStandIn, client: Client, stage: Path, fault: Fault, told: str) -> None:
    client.env["HF_HUB_DISABLE_XET"] = "1"
    hub.faults = [fault]
    found = client.run(CODE + "show(call(send))").values[0]
    assert found.get("exit") == 7, found
    assert told in found["message"]
    assert found["hint"]
    assert TOKEN not in json.dumps(found)
    repo = hub.repos.get(("models", "me/twin"))
    assert repo is None or list(repo.files("main")) == [".gitattributes"], "nothing half done"


def test_a_file_that_arrives_as_another_is_found_out(hub: HubStandIn, client: Client, stage: Path) -> None:
    client.env["HF_HUB_DISABLE_XET"] = "1"
    code = (
        CODE
        + """
read = publish.read_remote
def spoilt(repo, revision):
    found = read(repo, revision)
    found.files["one.safetensors"] = remote.RemoteFile(100_000, "0" * 64, None)
    del found.files["two parts.gguf"]
    return found
publish.read_remote = lambda repo, revision: (spoilt if len(revision or "") == 40 else read)(repo, revision)
show(call(send))
"""
    )
    found = client.run(code).values[0]
    assert (found["error"], found["exit"]) == ("CheckFailed", 8)
    assert "one.safetensors is another file; two parts.gguf is not there" in found["message"]


def test_a_branch_and_a_pull_request(hub: HubStandIn, client: Client, stage: Path) -> None:
    for way in ("lfs", "xet"):
        env = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
        hub.cas = str(client.home / "cas") if way == "xet" else ""
        (stage / "README.md").write_text(way)
        found = client.run(
            CODE + f'show(call(send, revision="{way}/next")); show(call(send, pull_request=True))', **env
        )
        refs = hub.repos["models", "me/twin"].refs
        assert [found.values[0]["sha"], found.values[0]["revision"]] == [refs[f"{way}/next"], f"{way}/next"]
        assert found.values[1]["sha"] == refs[found.values[1]["revision"]]
    repo = hub.repos["models", "me/twin"]
    assert list(repo.files("main")) == [".gitattributes"]
