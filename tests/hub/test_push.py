"""`twinctl push` as people type it, with the real client over HTTP: what is refused, what is sent, and going on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_client import TOKEN, Client
from tests.support.hub_push import MODEL, PUSH, refused, writes
from tests.support.hub_server import Fault, HubStandIn, sha256
from tests.support.hub_twin import SHARDS, weights
from tests.support.waiting import hashes_of, until


def puts(hub: HubStandIn, before: int = 0) -> list[str]:
    """The large files that were sent, by digest."""
    return [seen.path.removeprefix("/put/") for seen in hub.seen[before:] if seen.method == "PUT"]


def merge_record(client: Client) -> tuple[Path, dict[str, Any]]:
    """The merge's record.json and what is in it."""
    (path,) = (client.home / ".twinctl/artifacts/merge").glob("*/record.json")
    return path, json.loads(path.read_text())


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_exactly_the_files_once_and_compared(hub: HubStandIn, twin_client: Client, way: str, tmp_path: Path) -> None:
    if way == "xet":
        del twin_client.env["HF_HUB_DISABLE_XET"]
        hub.cas = str(tmp_path / "cas")
        hub.xet_hashes = hashes_of((twin_client.home / ".twinctl/artifacts/merge").rglob("*.safetensors"))
    (next((twin_client.home / ".twinctl/artifacts/merge").glob("*/out")) / "notes-of-mine.txt").write_text(
        "not part of it"
    )
    done = twin_client.command(*PUSH).ok()
    repo = hub.repos["models", "me/my-twin"]
    files = repo.files("main")
    assert set(files) == {*MODEL, ".gitattributes"}
    assert repo.private
    metrics = done.document["metrics"]
    assert (metrics["commit"], metrics["private"], done.document["cached"]) == (repo.refs["main"], True, False)
    assert metrics["commit_url"] == f"{hub.url}/me/my-twin/commit/{metrics['commit']}"
    assert {each["name"]: each["sha256"] for each in metrics["files"]} == {name: sha256(files[name]) for name in MODEL}
    assert sha256(files[SHARDS[0]]) == sha256(weights(0))
    assert {seen.authorization for seen in hub.seen if seen.host == "localhost"} <= {None}
    assert TOKEN not in done.out + done.err
    kept = [path for path in (twin_client.home / ".twinctl").rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]

    before = len(writes(hub))
    again = twin_client.command("push", "me/my-twin").ok()
    assert "nothing changed, nothing sent" in again.out
    assert writes(hub)[before:] == []
    assert repo.messages == ["merged 16-bit model by twinctl 0.1.0"]
    shown = twin_client.command("status", "--remote", "--json").ok().document["runs"][0]["phases"]
    assert [line["remote"] for line in shown if line["slot"] == "push-me/my-twin"] == ["same"]

    # And back in another place, to the byte.
    pulled = twin_client.command("pull", "me/my-twin", "-w", "elsewhere", "--json").ok().document
    for seed, name in enumerate(SHARDS):
        assert Path(twin_client.home, pulled["path"], name).read_bytes() == weights(seed)


def test_each_kind_has_its_repository(hub: HubStandIn, twin_client: Client) -> None:
    done = twin_client.command("push", "me/my-twin", "--adapter", "--gguf", "-m", "of mine", "--json").ok()
    assert [each["metrics"]["repo"] for each in done.document["pushes"]] == ["me/my-twin-LoRA", "me/my-twin-GGUF"]
    assert "adapter_model.safetensors" in hub.repos["models", "me/my-twin-LoRA"].files("main")
    gguf = hub.repos["models", "me/my-twin-GGUF"]
    assert {"tiny-f16.gguf", "tiny-q8_0.gguf"} <= set(gguf.files("main"))
    assert gguf.messages == ["of mine"]
    assert ("models", "me/my-twin") not in hub.repos


def test_a_dry_run_changes_nothing(hub: HubStandIn, twin_client: Client) -> None:
    plan = twin_client.command(*PUSH, "--dry-run").ok().document
    assert (plan["state"], plan["metrics"]["exists"], plan["metrics"]["private"]) == ("dry-run", False, True)
    assert {file["name"]: file["change"] for file in plan["metrics"]["files"]} == dict.fromkeys(MODEL, "new")
    assert writes(hub) == []
    assert hub.repos == {}
    assert not (twin_client.home / ".twinctl/artifacts/push").exists()
    shown = twin_client.command("push", "me/my-twin", "--dry-run").ok()
    assert "would send 7 of 7 files" in shown.out
    assert "to the private model repository me/my-twin (new)" in shown.out
    assert "nothing was sent" in shown.err


def test_a_dry_run_shows_what_it_can_without_the_hub(hub: HubStandIn, twin_client: Client) -> None:
    for env in ({"HF_HUB_OFFLINE": "1"}, {"HF_TOKEN": ""}):
        plan = twin_client.command(*PUSH, "--dry-run", **env).ok().document
        assert plan["metrics"]["asked"] is False
        assert plan["warnings"][0].startswith("the Hub was not asked: ")
    hub.stop()
    plan = twin_client.command(*PUSH, "--dry-run").ok().document
    assert "Cannot reach the Hub" in plan["warnings"][0]
    assert "Cannot reach the Hub" in refused(twin_client.command(*PUSH))


def test_what_is_not_allowed_is_refused_before_anything_moves(hub: HubStandIn, twin_client: Client) -> None:
    read, bad = hub.account("hf_" + "R" * 34, "me", "read"), "hf_" + "B" * 34
    hub.add("models", "me/public", {"a.txt": b"a"}, private=False)
    hub.add("models", "me/private", {"a.txt": b"a"}, private=True, readers={TOKEN})
    cases: list[tuple[tuple[str, ...], dict[str, str], str]] = [
        (("me/my-twin",), {"HF_TOKEN": ""}, "no token to write with"),
        (("me/my-twin",), {"HF_TOKEN": bad}, "does not accept the token (401)"),
        (("me/my-twin",), {"HF_TOKEN": read}, "The token of me may only read."),
        (
            ("them/my-twin",),
            {},
            "them is not me, nor an organisation of theirs. → Push to me/my-twin, or to one of my-org",
        ),
        (("their-org/my-twin",), {}, "me may only read in the organisation their-org"),
        (("me/public",), {}, "me/public is there and public: everybody could read this twin."),
        (("me/private", "--public", "--yes"), {}, "me/private is there and private, and --public was given."),
        (("me/my-twin",), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so nothing can be sent."),
    ]
    for words, env, told in cases:
        assert told in refused(twin_client.command("push", *words, "--json", **env)), words
        if words != ("me/my-twin",):
            assert told in refused(twin_client.command("push", *words, "--json", "--dry-run", **env)), words
    hub.faults = [Fault("GET", "/auth-check/write", status=403)]
    words = ("push", "me/private", "--json")
    assert "does not let this token write to me/private" in refused(twin_client.command(*words, HF_TOKEN=TOKEN))
    assert writes(hub) == []
    for name in ("my-twin", "me/..", "me/a--b", "me/x.git", "me/" + "a" * 97):
        assert "is not a repository's name" in refused(twin_client.command("push", name, "--json"), 2)
    assert "add --yes" in refused(twin_client.command(*PUSH, "--public"), 2)
    assert "contains the value of HF_TOKEN" in refused(twin_client.command(*PUSH, "-m", f"with {TOKEN}"), 3)


def test_what_must_not_leave_stops_the_push(hub: HubStandIn, twin_client: Client) -> None:
    secret = '"model_type": "llama"'  # in config.json
    told = refused(twin_client.command(*PUSH, COMET_API_KEY=secret), 8)
    assert "config.json has the value of COMET_API_KEY in it" in told
    assert hub.repos == {}
    path, record = merge_record(twin_client)
    shard = path.parent / "out" / SHARDS[1]
    data = shard.read_bytes()
    shard.unlink()
    outside = twin_client.home / "elsewhere.safetensors"
    outside.write_bytes(data)
    shard.symlink_to(outside)
    assert f"{SHARDS[1]} has a link that leads out of the result" in refused(twin_client.command(*PUSH), 8)
    shard.unlink()
    shard.write_bytes(data[:-1] + b"x")
    assert "is not the file that was written" in refused(twin_client.command(*PUSH), 4)
    shard.write_bytes(data)
    path.write_text(json.dumps({**record, "metrics": {**record["metrics"], "proof": None}}))
    assert "is not verified" in refused(twin_client.command(*PUSH), 8)
    assert hub.repos == {}
    assert "the merge is pushed unverified" in twin_client.command(*PUSH, "--unverified").ok().document["warnings"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_push_that_was_ended_goes_on_with_what_is_missing(
    hub: HubStandIn, twin_client: Client, number: signal.Signals
) -> None:
    first, second = (sha256(weights(seed)) for seed in (0, 1))
    hub.faults = [Fault("PUT", second, hang=True)]
    running = twin_client.start(*PUSH)
    until(lambda: first in hub.store and second in puts(hub))
    running.process.send_signal(number)
    done = running.done(20)
    assert done.code == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], done
    assert list(hub.repos["models", "me/my-twin"].files("main")) == [".gitattributes"]
    (state,) = [
        line["state"]
        for line in twin_client.command("status", "--json").ok().document["runs"][0]["phases"]
        if line["slot"] == "push-me/my-twin"
    ]
    assert state == "partial"
    before = len(hub.seen)
    assert twin_client.command(*PUSH).ok().document["cached"] is False
    assert puts(hub, before) == [second], "the first was there already"
    assert set(hub.repos["models", "me/my-twin"].files("main")) == {*MODEL, ".gitattributes"}


@pytest.mark.parametrize("at", ["/xet-write-token/", "/commit/"])
def test_an_upload_by_xet_is_ended_and_goes_on(hub: HubStandIn, twin_client: Client, at: str, tmp_path: Path) -> None:
    del twin_client.env["HF_HUB_DISABLE_XET"]
    hub.cas = str(tmp_path / "cas")
    method = "GET" if "token" in at else "POST"
    for number in (signal.SIGINT, signal.SIGKILL):
        hub.faults = [Fault(method, at, hang=True)]
        running = twin_client.start(*PUSH)
        until(lambda: hub.faults[0].times == 0)
        running.process.send_signal(number)
        assert running.done(30).code == {signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert list(hub.repos["models", "me/my-twin"].files("main")) == [".gitattributes"]
    assert twin_client.command(*PUSH).ok().document["cached"] is False
    assert set(hub.repos["models", "me/my-twin"].files("main")) == {*MODEL, ".gitattributes"}


def test_a_waiting_push_says_for_what(hub: HubStandIn, twin_client: Client) -> None:
    hub.faults = [
        Fault("POST", "/preupload/", status=429, headers={"Retry-After": "1"}),
        Fault("PUT", "/put/", drop=100_000),
    ]
    done = twin_client.command("push", "me/my-twin").ok()
    assert "push: the Hub asks to slow down; trying again" in done.err
    assert "push: the connection broke; trying again" in done.err


def test_a_hand_edited_card_and_foreign_files_stay_and_old_files_of_ours_go(
    hub: HubStandIn, twin_client: Client
) -> None:
    twin_client.command(*PUSH).ok()
    repo = hub.repos["models", "me/my-twin"]
    files = dict(repo.files("main"))
    card = files["README.md"]
    assert isinstance(card, bytes)
    listed = json.loads(files["twinctl.json"])  # type: ignore[arg-type]
    old = {"name": "model.safetensors", "bytes": 3, "sha256": sha256(b"old")}
    listed["results"][0]["files"].append(old)
    edited = {
        **files,
        "README.md": card.replace(b"\n# ", b"\nWords of mine.\n\n# ", 1),
        "theirs.txt": b"theirs",
        "model.safetensors": b"old",
        "twinctl.json": json.dumps(listed).encode(),
    }
    repo.commit(edited)
    shown = twin_client.command("status", "--remote", "--json")
    assert shown.code == 8
    line = next(each for each in shown.document["runs"][0]["phases"] if each["slot"] == "push-me/my-twin")
    assert (line["remote"], line["remote_notes"]) == (
        "differs",
        ["twinctl.json is another file", "the card was edited there"],
    )
    plan = twin_client.command(*PUSH, "--dry-run").ok().document["metrics"]
    assert plan["removes"] == ["model.safetensors"]
    assert [file["name"] for file in plan["files"] if file["change"] != "same"] == ["twinctl.json"]
    twin_client.command(*PUSH).ok()
    now = repo.files("main")
    assert b"Words of mine." in now["README.md"]  # type: ignore[operator]
    assert now["theirs.txt"] == b"theirs"
    assert "model.safetensors" not in now
    assert twin_client.command("status", "--remote").ok()


def test_a_branch_and_a_pull_request(hub: HubStandIn, twin_client: Client) -> None:
    twin_client.command(*PUSH, "--revision", "v1").ok()
    repo = hub.repos["models", "me/my-twin"]
    assert set(repo.files("v1")) == {*MODEL, ".gitattributes"}
    assert list(repo.files("main")) == [".gitattributes"]
    back = twin_client.command("pull", "me/my-twin", "--revision", "v1", "-w", "elsewhere", "--json").ok().document
    assert Path(twin_client.home, back["path"], SHARDS[0]).read_bytes() == weights(0)
    done = twin_client.command(*PUSH, "--pr").ok().document["metrics"]
    assert (done["revision"], done["pull_request"]) == ("refs/pr/1", f"{hub.url}/me/my-twin/discussions/1")
    assert list(repo.files("main")) == [".gitattributes"]
    assert twin_client.command(*PUSH, "--pr").ok().document["cached"] is True
    assert "refs/pr/2" not in repo.refs
    assert "do not go together" in refused(twin_client.command(*PUSH, "--pr", "--revision", "v1"), 2)


def test_the_licence_of_a_llama_goes_with_it(hub: HubStandIn, twin_client: Client) -> None:
    base = twin_client.home / "llama"
    (twin_client.home / "tiny-llama").rename(base) if (twin_client.home / "tiny-llama").is_dir() else None
    (run,) = (twin_client.home / ".twinctl/runs").glob("*.json")
    stored = json.loads(run.read_text())
    stored["pins"]["model"]["path"] = str(base)
    run.write_text(json.dumps(stored))
    (base / "README.md").write_text("---\nlicense: llama3.1\n---\n# base\n")
    done = twin_client.command("push", "me/my-twin", "--dry-run", "--json").ok().document
    assert "NOTICE" in [file["name"] for file in done["metrics"]["files"]]
    told = " ".join(done["warnings"])
    assert "asks for a name that begins with “Llama”: me/Llama-my-twin" in told
    assert "its text was not found" in told
    (base / "LICENSE").write_text("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT")
    done = twin_client.command("push", "me/Llama-my-twin", "--json").ok().document
    assert done["warnings"] == []
    files = hub.repos["models", "me/Llama-my-twin"].files("main")
    assert b"Built with Llama" in files["NOTICE"]  # type: ignore[operator]
    assert files["LICENSE"] == b"LLAMA 3.1 COMMUNITY LICENSE AGREEMENT"
