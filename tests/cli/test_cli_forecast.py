"""A training is foreseen: memory, steps, time, download and disk; what cannot fit is refused before any download."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import make_model, rows, write_rows
from twinctl.cli import forecast as shown
from twinctl.cli.output import Output
from twinctl.config.resolve import values_of
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.errors import EngineError, HubError
from twinctl.phases.train import plan
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.run_view import RunView
from twinctl.planning import device, gpu
from twinctl.planning.forecast import Forecast, forecast
from twinctl.planning.gpu import Gpu
from twinctl.workspace.files import append_line
from twinctl.workspace.workspace import Workspace

SHAPE_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
GIB = 2**30
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def machine_without_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, and plenty of disk."""
    monkeypatch.setattr(device, "DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(device, "WSL_DRIVER", tmp_path / "nvidia-smi")
    monkeypatch.setattr(gpu, "find_gpu", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 500 * GIB))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def put_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: float, free: float | None = None) -> None:
    """A machine with such a GPU."""
    (tmp_path / "version").write_text("Kernel Module  580.65.06  x")
    found = Gpu("NVIDIA H200", total, total if free is None else free, "580.65.06")
    monkeypatch.setattr(gpu, "find_gpu", lambda: found)


def look(home: Path, *, alone: bool = False, **flags: Any) -> Forecast:
    """The forecast of the workspace's current run."""
    workspace = Workspace.open(home / ".twinctl")
    view = RunView(workspace, workspace.run(None))
    values = values_of("train", (TrainRecipe, TrainOptions), view.run.pins["preset"], flags)
    return forecast(view, plan(view, values), alone=alone)


@pytest.fixture
def large_base(home: Path, cli: Cli) -> Path:
    """A workspace with tokens for a base that claims to be an 8B Llama."""
    make_model(home / "llama-8b", **SHAPE_8B)
    write_rows(home / "posts.jsonl", rows(60))
    cli("prepare", "--model", "llama-8b", "-d", "posts.jsonl", "--preset", "tiny", "--max-length", "2048").ok()
    return home


def on_the_hub(home: Path, monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Let the run's base be one of the Hub, of which the config is in `folder`, or nowhere here."""
    workspace = Workspace.open(home / ".twinctl")
    with workspace.runs.change(workspace.run(None).name) as run:
        stored = BaseCheckpoint("org/gated", repo="org/gated", sha="0" * 40, files=run.pins["model"]["files"]).stored()
        run.pins["model"] = stored
    if folder is not None:
        monkeypatch.setattr("twinctl.hub.download_model", lambda repo, sha, weights: folder)


def test_on_a_cpu_the_tiny_base_is_foreseen(prepared: dict[str, Any], home: Path) -> None:
    found = look(home)
    assert found.device.name == "cpu" and found.device.room_gib is None
    assert (found.choice.micro_batch, found.choice.checkpointing) == (2, False)
    metrics = prepared["metrics"]
    assert (found.steps, found.steps_per_epoch) == found.recipe.steps(metrics["packed_rows"])
    assert found.seconds is None and found.download == 0 and found.token is None
    assert all(each.fits is None for each in found.alternatives)
    assert "the first ones will tell" in found.line and found.document["text"] == found.line


def test_tokens_are_the_real_ones_of_all_epochs(prepared: dict[str, Any], home: Path) -> None:
    metrics, once, thrice = prepared["metrics"], look(home, epochs=1.0), look(home, epochs=3.0)
    length = once.max_length
    real = metrics["packed_rows"] * length * metrics["packing_efficiency"]
    assert once.tokens == pytest.approx(real, abs=1) and thrice.tokens == pytest.approx(3 * real, abs=2)
    assert look(home, stop_at=1).steps == 1 and look(home, max_steps=7).steps == 7


def test_an_8b_model_on_80_gib(large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpu(tmp_path, monkeypatch, 79.6)
    found = look(large_base, rank=32, batch_size=16, optimizer="adamw_8bit")
    assert (found.choice.micro_batch, found.choice.checkpointing) == (2, False)
    assert found.choice.memory is not None and found.choice.memory.total == pytest.approx(29.78, rel=0.03)
    table = {(each.method, each.checkpointing): each for each in found.alternatives}
    assert len(table) == 6 and table["qlora", True].fits and table["qlora", True].gib < 8
    assert found.disk.merged == pytest.approx(16.06e9, rel=0.01)
    assert found.disk.result == pytest.approx(335.5e6, rel=0.01)
    assert found.disk.checkpoints == pytest.approx(3 * 503e6, rel=0.01)
    text = found.line
    assert text.startswith("8.0 B parameters, LoRA r32, micro-batch 2 × 8, 30.1 of 79.0 GiB, ")
    assert "checkpointing off because it fits; " in text


@pytest.mark.parametrize(("cap", "fits"), [(16, False), (24, True), (48, True), (80, True)])
def test_a_memory_limit_is_kept_to(
    large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cap: int, fits: bool
) -> None:
    put_gpu(tmp_path, monkeypatch, 140)
    if fits:
        memory = look(large_base, memory_limit=cap).choice.memory
        assert memory is not None and memory.total * 1.05 <= cap
        return
    with pytest.raises(EngineError, match=r"there are 16\.0 GiB to use$") as caught:
        look(large_base, memory_limit=cap)
    assert "--method qlora" in caught.value.hint
    assert look(large_base, memory_limit=cap, method="qlora").warnings == (
        "a 4-bit run: export needs the 16-bit base (15.0 GiB)",
    )


def test_memory_that_others_have_is_said(large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_gpu(tmp_path, monkeypatch, 80, 10)
    with pytest.raises(EngineError, match=r"; others have 70\.0 of the GPU's 80\.0 GiB$"):
        look(large_base)
    assert look(large_base, alone=True).choice.micro_batch == 2  # they are this very training


def test_an_8b_model_without_a_gpu_is_refused(large_base: Path) -> None:
    with pytest.raises(EngineError, match="no GPU to use"):
        look(large_base)
    assert look(large_base, device="cpu").device.name == "cpu"


def test_a_driver_that_does_not_tell_refuses_nothing(
    large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text("Kernel Module  580.65.06  x")
    found = look(large_base)
    assert found.device.room_gib is None and any("does not tell" in each for each in found.warnings)
    json.dumps(found.document, allow_nan=False)


def test_the_pace_of_a_like_training_tells_the_time(trained: dict[str, Any], home: Path) -> None:
    assert look(home, seed=5).seconds is None  # the fake trainer did not say on which device it was
    note = {"attempt": 1, "device_name": "cpu", "micro_batch": 2, "gradient_checkpointing": False}
    append_line(Path(trained["path"]).parent / "attempts.jsonl", note)
    found = look(home, seed=5)
    assert found.tokens is not None and found.seconds == pytest.approx(found.tokens / 200.0)
    assert look(home, method="qlora").seconds is None


def test_a_gated_base_without_network_is_a_hub_error(
    prepared: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub(home, monkeypatch, None)
    with pytest.raises(HubError):
        look(home)


def test_a_base_that_is_not_here_yet_is_counted_and_refused_before_it_comes(
    large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub(large_base, monkeypatch, large_base / "llama-8b")
    monkeypatch.setattr("twinctl.hub.models.cached_folder", lambda target, weights: None)

    def gated(target: Any, *, files: bool) -> Any:
        raise HubError("org/gated is gated.", "Accept its licence.")

    monkeypatch.setattr("twinctl.hub.client.repo_info", gated)
    put_gpu(tmp_path, monkeypatch, 80)
    found = look(large_base)
    assert found.download == pytest.approx(16.06e9, rel=0.01) and found.token is False
    assert any("org/gated is gated. Accept its licence." in each for each in found.warnings)
    put_gpu(tmp_path, monkeypatch, 12)
    with pytest.raises(EngineError):
        look(large_base)


def test_the_hub_tells_how_much_is_to_come(
    prepared: dict[str, Any], home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub(home, monkeypatch, model)
    monkeypatch.setattr("twinctl.hub.models.cached_folder", lambda target, weights: None)
    files = [SimpleNamespace(rfilename="model.safetensors", size=600 * GIB), SimpleNamespace(rfilename="x", size=9)]
    monkeypatch.setattr(
        "twinctl.hub.client.repo_info", lambda target, files_=files, **_: SimpleNamespace(siblings=files_)
    )
    found = look(home)
    assert found.download == 600 * GIB
    assert any("do not fit on the Hub cache's disk" in each for each in found.warnings)


@pytest.mark.parametrize(("free", "said"), [(1, "checkpoints and result need"), (10, "but not to export"), (99, "")])
def test_a_short_disk_is_told(
    large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: str
) -> None:
    put_gpu(tmp_path, monkeypatch, 80)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free * GIB))
    warnings = look(large_base).warnings
    assert any(said in each for each in warnings) if said else not warnings


@pytest.mark.parametrize(
    ("key", "tracking", "said"),
    [("", "auto", "none: COMET_API_KEY is not set"), ("abcdefgh", "auto", "Comet"), ("abcdefgh", "none", "none")],
)
def test_where_the_metrics_go(
    prepared: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch, key: str, tracking: str, said: str
) -> None:
    monkeypatch.setenv("COMET_API_KEY", key)
    assert look(home, tracking=tracking).tracking == said


def test_it_is_shown_to_people_and_to_scripts(
    large_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_gpu(tmp_path, monkeypatch, 80)
    found = look(large_base, method="qlora")
    capsys.readouterr()
    shown.show_forecast(Output(), found)
    seen = capsys.readouterr()
    for word in ("NVIDIA H200", "driver 580.65.06", "8.0 B parameters, QLoRA r", "weights 5.31", "GGUF q4_k_m"):
        assert word in seen.out
    assert "fits (chosen)" in seen.out and "a 4-bit run" in seen.err
    shown.show_forecast(Output(json=True), found)
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "train" and document["warnings"] == list(found.warnings)
    assert document["plan"]["choice"]["total_gib"] == found.choice.memory.total  # type: ignore[union-attr]
    assert document["plan"]["device"]["total_gib"] == 80
