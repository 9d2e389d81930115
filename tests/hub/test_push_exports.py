"""A push of what is not exported yet: exported on the way, and never by a dry run or before the Hub was asked."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.support.hub_client import Client
from tests.support.hub_push import refused, writes
from tests.support.hub_server import Fault, HubStandIn

# `twinctl push` with stand-ins for what merges and writes, as in twin.py.
PUSH = """
import sys
from contextlib import redirect_stdout
from io import StringIO
from dataclasses import replace
from twinctl.phases import gguf, merge
from tests.support.stand_ins import fake_gguf
from tests.support.hub_twin import sharded_merge
for phase, run in ((merge, sharded_merge), (gguf, fake_gguf)):
    phase.PHASE = replace(phase.PHASE, run=run, in_worker=False)
sys.argv = ["twinctl", "push", "me/my-twin", "--json", *WORDS]
from twinctl.cli.app import main
with redirect_stdout(StringIO()) as out:
    try:
        main()
    except SystemExit as done:
        assert not done.code, done.code
show(json.loads(out.getvalue()))
"""


@pytest.fixture
def unexported_twin(twin_client: Client) -> Client:
    """A twin of which nothing is exported."""
    for phase in ("merge", "gguf"):
        shutil.rmtree(twin_client.home / ".twinctl/artifacts" / phase)
    return twin_client


def exported(client: Client) -> list[str]:
    """The kinds of what is exported, by the folders of the workspace."""
    folder = client.home / ".twinctl/artifacts"
    return sorted(path.name for path in folder.iterdir() if path.name in ("merge", "gguf"))


def push(client: Client, *words: str) -> dict[str, Any]:
    """The document of a push with stand-ins."""
    answer = client.run(f"WORDS = {list(words)!r}\n{PUSH}")
    found: dict[str, Any] = answer.values[0]
    return found


def test_a_push_exports_what_it_sends(hub: HubStandIn, unexported_twin: Client) -> None:
    document = push(unexported_twin, "--gguf")
    assert [file["name"] for file in document["metrics"]["files"]] == [
        *("Modelfile", "README.md", "loss_curve.png", "params", "template", "tiny-q4_k_m.gguf", "twinctl.json"),
    ]
    assert exported(unexported_twin) == ["gguf", "merge"]
    (record,) = (unexported_twin.home / ".twinctl/artifacts/gguf").glob("*/record.json")
    assert json.loads(record.read_text())["metrics"]["proof"], "proven, or it would not have gone"
    assert "tiny-q4_k_m.gguf" in hub.repos["models", "me/my-twin-GGUF"].files("main")


def test_the_quantisations_are_those_of_the_config_file(hub: HubStandIn, unexported_twin: Client) -> None:
    (unexported_twin.home / "twinctl.toml").write_text('[export]\nquant = ["f16", "q8_0"]\n')
    push(unexported_twin, "--gguf")
    assert {"tiny-f16.gguf", "tiny-q8_0.gguf"} <= set(hub.repos["models", "me/my-twin-GGUF"].files("main"))


def test_a_dry_run_says_what_would_be_exported_and_makes_nothing(hub: HubStandIn, unexported_twin: Client) -> None:
    words = ("push", "me/my-twin", "--merged", "--gguf", "--dry-run")
    shown = unexported_twin.command(*words).ok()
    assert shown.out.splitlines() == [
        "would export the merged 16-bit model first, then send what is made to the private model repository "
        "me/my-twin (new): merged 16-bit model",
        "would export the merged 16-bit model and the q4_k_m GGUF file first, then send what is made to the private "
        "model repository me/my-twin-GGUF (new): GGUF",
    ]
    plans = unexported_twin.command(*words, "--json").ok().document["plans"]
    assert [(plan["exports"], plan["files"]) for plan in plans] == [
        (["the merged 16-bit model"], []),
        (["the merged 16-bit model", "the q4_k_m GGUF file"], []),
    ]
    assert exported(unexported_twin) == []
    assert writes(hub) == []


def test_what_hinders_a_push_is_said_before_an_export_that_takes_long(hub: HubStandIn, unexported_twin: Client) -> None:
    for kind in ("--merged", "--gguf"):
        assert "no token to write with" in refused(
            unexported_twin.command("push", "me/my-twin", kind, "--json", HF_TOKEN="")
        )
        words = ("push", "me/my-twin", kind, "--public", "--json")
        assert "add --yes" in refused(unexported_twin.command(*words), 2)
    hub.faults = [Fault("GET", "/whoami", status=503)]
    assert "returned 503" in refused(unexported_twin.command("push", "me/my-twin", "--json"))
    assert exported(unexported_twin) == []
