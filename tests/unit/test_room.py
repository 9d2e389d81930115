"""A GPU that is too small for the 16-bit model, as after QLoRA: merge and proof go to the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from twinctl.config.train import TrainRecipe
from twinctl.data.tokens import TokensInfo
from twinctl.engine import loading, merging, models
from twinctl.engine.training_inputs import TrainInputs
from twinctl.errors import EngineError
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.planning.gpu import Gpu
from twinctl.planning.memory import Choice
from twinctl.verification import reference_model
from twinctl.wording import GIB

LLAMA_8B = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 128256}
WEIGHTS = 15 * GIB


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An 8B in 16 bit, as far as sizes go."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    for name in ("model-1.safetensors", "model-2.safetensors"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(WEIGHTS // 2)
    return tmp_path


@pytest.mark.parametrize(
    ("free", "device"), [(12.0, "cpu"), (17.0, "cpu"), (17.2, "auto"), (80.0, "auto"), (None, "auto")]
)
def test_where_it_is_merged(base: Path, monkeypatch: pytest.MonkeyPatch, free: float | None, device: str) -> None:
    found = None if free is None else Gpu("NVIDIA", 80.0, free)
    monkeypatch.setattr(merging, "find_gpu", lambda: found)
    started: list[str] = []

    def start(device: str) -> Any:
        started.append(device)
        raise EngineError("far enough")

    monkeypatch.setattr(merging, "start_unsloth", start)
    said: list[str] = []
    attempt: Any = SimpleNamespace(
        inputs=TrainedModel(base, Path("a"), Path("tokens"), TokensInfo("", 256, None)),
        stage=lambda text: None,
        event=lambda kind, text: said.append(f"{kind}: {text}"),
    )
    with pytest.raises(EngineError, match="far enough"):
        merging.merge(attempt)
    assert started == [device]
    told = f"warning: the GPU has {(free or 0) - 0.6:.1f} GiB free, and the 16-bit model takes 16.5: merging on the CPU"
    assert [text.startswith(told) for text in said] == [True] * (device == "cpu")


@pytest.mark.parametrize(
    ("free", "longest", "has"), [(18, 64, False), (22, 2048, True), (22, 8192, False), (30, 8192, True)]
)
def test_where_it_is_asked(base: Path, monkeypatch: pytest.MonkeyPatch, free: int, longest: int, has: bool) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * GIB // 2, 80 * GIB))
    assert reference_model.has_room_on_gpus(base, longest) is has
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not reference_model.has_room_on_gpus(base, longest)


def failing(error: Exception) -> Any:
    def fail(**_: object) -> None:
        raise error

    return SimpleNamespace(FastLanguageModel=SimpleNamespace(from_pretrained=fail))


@pytest.mark.parametrize(("method", "mend"), [("lora", "use --method qlora, or"), ("qlora", "use a smaller model")])
def test_a_base_that_cannot_be_loaded_to_be_trained(method: str, mend: str) -> None:
    error = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")
    split = Choice(micro_batch=1, checkpointing=True, memory=None, why="")
    recipe = TrainRecipe.model_validate({"method": method})
    with pytest.raises(EngineError, match=r"not enough memory to load the model: CUDA error: out of memory$") as caught:
        loading.load_to_train(
            failing(error), recipe, split, TrainInputs(Path("tokens"), TokensInfo("", 64, None), Path("b"), "b", {})
        )
    assert caught.value.hint.startswith(mend)


def test_what_else_fails_is_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="another thing"):
        models.load_model(failing(RuntimeError("another thing")), Path("b"), max_length=64)
