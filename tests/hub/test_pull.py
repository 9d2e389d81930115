"""`twinctl pull`: a pushed twin back in a workspace, to the byte, and nothing else."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub_client import TOKEN, Client
from tests.support.hub_push import refused
from tests.support.hub_server import Fault, HubStandIn
from tests.support.hub_twin import SHARDS, weights
from tests.support.waiting import until
from twinctl.errors import ConfigError
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.publishing import hub_manifest
from twinctl.publishing.provenance import hub_manifest as manifest_of
from twinctl.workspace.workspace import Workspace

PULL = ("pull", "me/my-twin", "-w", "there", "--json")


@pytest.fixture
def pushed(hub: HubStandIn, twin_client: Client) -> Client:
    """The merged model and the adapter are on the Hub."""
    twin_client.command("push", "me/my-twin", "--merged", "--adapter", "--json").ok()
    return twin_client


def rewritten(hub: HubStandIn, change: dict[str, Any], name: str = "me/my-twin") -> None:
    """A commit in which twinctl.json has other values."""
    repo = hub.repos["models", name]
    files = dict(repo.files("main"))
    document = {**json.loads(files["twinctl.json"]), **change}  # type: ignore[arg-type]
    repo.commit({**files, "twinctl.json": json.dumps(document).encode()})


def test_an_adapter_comes_back_with_pins_recipe_and_figures(hub: HubStandIn, pushed: Client) -> None:
    words = ("pull", "me/my-twin-LoRA", "-w", "there", "--run", "old", "--json")
    document = pushed.command(*words).ok().document
    (record,) = [json.loads(path.read_text()) for path in pushed.home.glob(".twinctl/artifacts/train/*/record.json")]
    (back,) = [json.loads(path.read_text()) for path in pushed.home.glob("there/artifacts/pull/adapter*/record.json")]
    for name in ("digest", "recipe", "files", "produces"):
        assert back[name] == record[name], name
    assert {**back["metrics"], "pulled": None} == {**record["metrics"], "pulled": None}
    assert document["cached"] is False
    assert pushed.command(*words).ok().document["cached"] is True
    (run,) = pushed.command("runs", "-w", "there", "--json").ok().document["runs"]
    (own,) = pushed.command("runs", "--json").ok().document["runs"]
    assert run["pins"]["model"]["files"] == own["pins"]["model"]["files"]
    assert run["pins"]["model"]["path"] is None
    (template,) = pushed.home.glob("there/artifacts/pull/tokens*/out/template.jinja")
    (original,) = pushed.home.glob(".twinctl/artifacts/prepare/*/out/template.jinja")
    assert template.read_bytes() == original.read_bytes()
    for command in (["status"], ["inspect", "train"], ["logs", "train"], ["export", "--adapter"]):
        pushed.command(*command, "-w", "there").ok()
    assert "was pulled from the Hub, and the rows" in refused(pushed.command("train", "-w", "there", "--json"), 4)


@pytest.fixture
def document(made_twin: Path) -> dict[str, Any]:
    """The document of the merged model."""
    place = Workspace.open(made_twin / ".twinctl")
    view = RunView(place, place.run("tiny"))
    found: dict[str, Any] = json.loads(json.dumps(manifest_of(view, Kind.MODEL, [view.need(Kind.MODEL)])))
    return found


def test_no_row_and_no_name_of_this_machine_travels(hub: HubStandIn, pushed: Client) -> None:
    import socket

    for repo in hub.repos.values():
        for name, data in repo.files("main").items():
            assert isinstance(data, bytes)
            for private in (b"posts.jsonl", str(pushed.home).encode(), socket.gethostname().encode() * 3, b"harbour"):
                assert private not in data or name == "README.md", (name, private)


def test_what_pull_refuses(hub: HubStandIn, pushed: Client) -> None:
    hub.add("models", "me/plain", {"config.json": b"{}"})
    cases = [
        ("me/none", 7, "There is no model me/none"),
        ("me/plain", 3, "was not pushed by twinctl"),
        ("plain", 2, "is not a repository's name"),
    ]
    for repo, code, told in cases:
        assert told in refused(pushed.command("pull", repo, "-w", "there", "--json"), code)
    assert "no revision “v9”" in refused(pushed.command(*PULL, "--revision", "v9"))
    assert "no model me/my-twin" in refused(pushed.command(*PULL, HF_TOKEN=""))
    assert "HF_HUB_OFFLINE is set" in refused(pushed.command(*PULL, HF_HUB_OFFLINE="1"))
    assert "there is a run “tiny” already" in refused(pushed.command("pull", "me/my-twin", "--json"), 2)
    document = json.loads(hub.repos["models", "me/my-twin"].files("main")["twinctl.json"])  # type: ignore[arg-type]
    (made,) = document["results"]
    for name in ("../../evil.json", "/etc/passwd", "modeling_twin.py", "pytorch_model.bin", "a/config.json"):
        rewritten(hub, {"results": [{**made, "files": [{**made["files"][0], "name": name}]}]})
        assert pushed.command(*PULL).code == 3, name
    pins = document["pins"]
    rewritten(hub, {**document, "pins": {**pins, "model": {**pins["model"], "locator": "x; rm -rf ~"}}})
    assert "cannot be read: pins.model.locator" in refused(pushed.command(*PULL), 3)
    rewritten(hub, document)
    rewritten(hub, {"schema": 2})
    assert "newer twinctl" in refused(pushed.command(*PULL), 3)
    rewritten(hub, {"schema": 1, "results": "none"})
    assert "cannot be read" in refused(pushed.command(*PULL), 3)
    rewritten(hub, {"results": [{**made, "files": [{**made["files"][0], "sha256": "0" * 64}]}]})
    assert "is not the file that was pushed" in refused(pushed.command(*PULL), 8)
    assert not (pushed.home / "there/artifacts/train").exists()


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy in which the value at `a.b.0.c` is another."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    *parents, last = place.split(".")
    found: Any = copy
    for name in parents:
        found = found[int(name) if isinstance(found, list) else name]
    found[last] = value
    return copy


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("run", "../../evil"),
        ("pins.template", "../../evil"),
        ("pins.model.repo", 'a/b"); import os #'),
        ("pins.model.repo", "a/b](https://evil.example)"),
        ("pins.model.files", {"../x": "0" * 64}),
        ("results.0.slot", "../evil"),
        ("results.0.metrics.proof", "near"),
        ("line.0.metrics.eval_loss", "<b>low</b>"),
        ("line.0.digest", "`x`"),
        ("line.1.inputs.sources", [{"role": "author", "repo": "a/b](https://evil.example)"}]),
        ("line.1.inputs.sources", [{"role": "author", "files": [["", "/home/jane/x.txt", ""]]}]),
        ("line.1.metrics.tokens_by_role", {"author": "many"}),
        ("losses", [[1, "high"]]),
        ("happened.versions", ["1.0"]),
        ("twinctl", "\x1b[2J"),
        ("line.0.recipe.method", "\x1b]0;evil\x07"),
    ],
)
def test_a_document_that_somebody_bent_is_refused(document: dict[str, Any], place: str, value: Any) -> None:
    assert hub_manifest.read(json.dumps(document), "me/my-twin").run == "tiny"
    with pytest.raises(ConfigError, match="of me/my-twin cannot be read"):
        hub_manifest.read(json.dumps(changed(document, place, value)), "me/my-twin")


SUFFIXES = {"--merged": "", "--adapter": "-LoRA", "--gguf": "-GGUF"}


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_pulled_twin_that_is_pushed_again_tells_the_same(hub: HubStandIn, twin_client: Client, kind: str) -> None:
    name = f"my-twin{SUFFIXES[kind]}"
    twin_client.command("push", "me/my-twin", kind).ok()
    first = hub.repos["models", f"me/{name}"].files("main")
    twin_client.command("pull", f"me/{name}", "-w", "there").ok()
    same = twin_client.command("push", "me/my-twin", kind, "-w", "there", "--json").ok().document
    assert (same["cached"], same["metrics"]["sent"]) == (True, [])
    card = first["README.md"]
    assert isinstance(card, bytes)
    shown = twin_client.command("card", f"me/{name}", kind, "-w", "there").ok().out
    assert shown == card.decode()
    assert "loss_curve.png" in shown and "Trained with `twinctl" in shown
    assert ("| 1e-06 | 99.00% |" in shown) is (kind != "--adapter")
    assert ("| loss, nats a token | 2.2 | 1.1 |" in shown) is True


def test_what_is_told_of_a_pulled_twin_must_be_what_came(hub: HubStandIn, pushed: Client) -> None:
    pushed.command(*PULL).ok()
    (origin,) = (pushed.home / "there/artifacts/pull").glob("model-*/origin.json")
    origin.write_text(origin.read_text().replace("0.99", "0.999"))
    told = refused(pushed.command("card", "-w", "there", "--json"), 4)
    assert "origin.json is not the file that was pulled → twinctl pull me/my-twin --restart" in told
    pushed.command(*PULL, "--restart").ok()
    pushed.command("card", "-w", "there").ok()


def test_a_pulled_twin_is_as_verified_as_it_was(hub: HubStandIn, pushed: Client) -> None:
    document = json.loads(hub.repos["models", "me/my-twin"].files("main")["twinctl.json"])  # type: ignore[arg-type]
    rewritten(hub, changed(document, "results.0.metrics.proof", None))
    pushed.command(*PULL).ok()
    words = ("push", "me/again", "-w", "there", "--json")
    assert "is not verified" in refused(pushed.command(*words), 8)
    pushed.command(*words, "--unverified").ok()


@pytest.mark.parametrize("fault", ["drop", "503", "kill", "interrupt"])
def test_a_broken_download_goes_on(hub: HubStandIn, pushed: Client, fault: str) -> None:
    first, second = (hashlib.sha256(weights(seed)).hexdigest() for seed in (0, 1))
    if fault == "drop":
        hub.faults = [Fault("GET", f"/blob/{second}", drop=100_000)]
    elif fault == "503":
        hub.faults = [Fault("GET", f"/blob/{second}", status=503)]
    else:
        hub.faults = [Fault("GET", f"/blob/{second}", hang=True)]
        running = pushed.start(*PULL)
        until(lambda: any(second in seen.path and seen.method == "GET" for seen in hub.seen))
        running.process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGINT)
        assert running.done(20).code == (-9 if fault == "kill" else 130)
    before = len(hub.seen)
    document = pushed.command(*PULL).ok().document
    for seed, name in enumerate(SHARDS):
        assert Path(pushed.home, document["path"], name).read_bytes() == weights(seed)
    if fault in ("kill", "interrupt"):
        assert not [seen for seen in hub.seen[before:] if first in seen.path], "the first was here already"
    assert {seen.authorization for seen in hub.seen if seen.host == "localhost"} <= {None}
    assert TOKEN not in json.dumps(document)


def test_a_pulled_model_is_a_run_of_its_own(hub: HubStandIn, pushed: Client) -> None:
    pushed.command(*PULL, "--run", "whole").ok()
    code = """
from pathlib import Path
from twinctl.chat.model_files import twin_files
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.workspace import Workspace
place = Workspace.open(Path("there"))
files = twin_files(RunView(place, place.run("whole")))
show({name: str(value) for name, value in vars(files).items()})
"""
    files = pushed.run(code).values[0]
    assert files["model"] == files["base"], "no base is needed, nor asked for"
    assert files["adapter"] == "None"
    assert files["template"]
