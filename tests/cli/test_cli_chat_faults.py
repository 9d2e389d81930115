"""Who cannot be asked, and why: said before anything is loaded, with the command that mends it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import Cli, Done
from tests.support.stand_ins import make_model
from twinctl.chat.model_selection import ModelSelection, select_models
from twinctl.errors import UpstreamError
from twinctl.pipeline.checkpoints import MANIFEST, write_manifest
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.workspace import Workspace


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("twinctl.engine.generation.LocalModel.load", load)
    monkeypatch.setattr("twinctl.gguf.chat_model.GgufChatModel.load", load)


def refused(done: Done, *parts: str) -> None:
    assert done.code == 4, f"{done.code}\n{done.err}"
    for part in parts:
        assert part in done.err


def artifact(home: Path, phase: str) -> Path:
    (found,) = (home / ".twinctl" / "artifacts" / phase).iterdir()
    return found


def test_no_training_says_what_is_there(cli: Cli, prepared: object) -> None:
    shown = cli("chat", "-p", "x")
    refused(shown, "run “tiny” has no trained model yet: prepare is complete", "twinctl train --run tiny")


def test_a_damaged_adapter_is_named(cli: Cli, trained: object, home: Path) -> None:
    weights = artifact(home, "train") / "out" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    refused(cli("chat", "-p", "x"), str(weights.relative_to(home)), "twinctl train --run tiny --restart")
    weights.unlink()
    refused(cli("chat", "-p", "x"), "is missing")


def test_an_adapter_of_another_base_is_refused(cli: Cli, trained: object, home: Path) -> None:
    other = make_model(home / "other", rms_norm_eps=1e-4)
    cli("prepare", "--preset", "tiny", "--model", other, "-d", "posts.jsonl").ok()
    refused(cli("chat", "-p", "x"), "was on another base model", "twinctl train --run tiny")


def test_a_base_that_changed_is_refused(cli: Cli, trained: object, home: Path, model: Path) -> None:
    copy = shutil.copytree(model, home / "base")
    cli("chat", "-p", "x", "--model-path", copy)
    from safetensors.numpy import save_file

    save_file({"model.embed_tokens.weight": np.ones((320, 8), np.float32)}, copy / "model.safetensors")
    refused(cli("chat", "-p", "x"), "changed since prepare: model.safetensors")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--gguf"], "has no GGUF file yet"),
        (["--gguf", "q4_k_m"], "there is no GGUF file q4_k_m"),
        (["--merged"], "has no model yet"),
        (["--checkpoint", "10"], "its checkpoints are gone"),
    ],
)
def test_what_was_not_made(cli: Cli, trained: object, words: list[str], what: str) -> None:
    refused(cli("chat", "-p", "x", *words), what)


def test_a_gguf_file_of_another_name_lists_those_there_are(cli: Cli, trained: object) -> None:
    cli("export", "-q", "q8_0").ok()
    refused(cli("chat", "-p", "x", "--gguf", "q2_k"), "there is no GGUF file q2_k; exported: ", "q8_0.gguf")


def test_all_are_those_that_are_there(cli: Cli, trained: object, home: Path) -> None:
    workspace = Workspace.open(home / ".twinctl")

    def names(wanted: ModelSelection) -> list[tuple[str, ...]]:
        return [voices.names for voices in select_models(RunView(workspace, workspace.run(None)), wanted)]

    assert names(ModelSelection(all=True)) == [("base", "tiny")]
    cli("export", "-q", "q8_0").ok()
    gguf = next((home / ".twinctl" / "artifacts" / "gguf").glob("*/out/*.gguf")).name
    assert names(ModelSelection(all=True)) == [("base", "tiny"), ("merged",), (gguf,)]
    assert names(ModelSelection()) == [("tiny",)]
    assert names(ModelSelection(base=True)) == [("base",)]
    assert names(ModelSelection(compare=True)) == names(ModelSelection().with_base_if_free) == [("base", "tiny")]
    assert names(ModelSelection(merged=True, gguf="q8_0")) == [("merged",), (gguf,)]


def test_a_checkpoint_that_is_removed_or_torn_meanwhile(
    cli: Cli, trained: object, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = artifact(home, "train")
    checkpoint = made / "work" / "checkpoints" / "checkpoint-10"
    shutil.copytree(made / "out", checkpoint)
    (checkpoint / "optimizer.pt").write_bytes(b"much")
    write_manifest(checkpoint)
    (made / "record.json").unlink()
    workspace = Workspace.open(home / ".twinctl")
    run = workspace.run(None)
    loaded = []
    monkeypatch.setattr(
        "twinctl.engine.generation.LocalModel.load",
        lambda files, name, **_: loaded.append((files.adapter, sorted(path.name for path in files.adapter.iterdir()))),
    )
    (voices,) = select_models(RunView(workspace, run), ModelSelection(checkpoint=10))
    assert voices.names == ("checkpoint-10",)
    voices.load()
    assert loaded[0][0] != checkpoint and loaded[0][1] == ["adapter_config.json", "adapter_model.safetensors"]
    weights = checkpoint / "adapter_model.safetensors"
    weights.write_bytes(b"torn")
    with pytest.raises(UpstreamError, match=r"adapter_model\.safetensors is not the file that was written"):
        voices.load()
    shutil.rmtree(checkpoint)
    with pytest.raises(UpstreamError, match="was removed meanwhile"):
        voices.load()
    refused(cli("chat", "-p", "x", "--checkpoint", "10"), "has no checkpoint yet")


def test_a_checkpoint_that_is_not_sealed_is_none(cli: Cli, trained: object, home: Path) -> None:
    made = artifact(home, "train")
    for step in (10, 20):
        shutil.copytree(made / "out", made / "work" / "checkpoints" / f"checkpoint-{step}")
        write_manifest(made / "work" / "checkpoints" / f"checkpoint-{step}")
    (made / "work" / "checkpoints" / "checkpoint-20" / MANIFEST).unlink()
    (made / "record.json").unlink()
    refused(cli("chat", "-p", "x", "--checkpoint", "20"), "there are: 10 ", "twinctl chat --checkpoint 10")
    error = json.loads(cli("chat", "-p", "x", "--json").out)["error"]
    assert error["hint"] == "ask what it is at step 10: twinctl chat --checkpoint 10 --run tiny"
