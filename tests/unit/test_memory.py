"""The predicted peaks are the measured ones, and the plan made of them fits, or says what would."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twinctl.bundled import BASE
from twinctl.config.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.errors import EngineError, UpstreamError
from twinctl.planning.memory import SPARE, Choice, choose, fits, fitting, memory_of
from twinctl.planning.model_shape import ModelShape

# With checkpointing, by rank, micro-batch and length; no figure of these was used to fit the prediction.
RANKS = {
    "lora": {
        (32, 1, 2048): 16.30, (32, 2, 2048): 16.67, (32, 4, 2048): 17.45, (32, 8, 2048): 19.01, (32, 2, 1024): 16.58,
        (32, 8, 1024): 17.57, (8, 1, 2048): 16.08, (8, 4, 2048): 16.94, (128, 1, 2048): 19.07, (128, 4, 2048): 19.94,
    },
    "qlora": {
        (32, 1, 2048): 6.87, (32, 2, 2048): 7.26, (32, 4, 2048): 8.08, (32, 8, 2048): 9.52, (32, 2, 1024): 7.13,
        (32, 8, 1024): 8.18, (8, 1, 2048): 6.67, (8, 4, 2048): 7.53, (128, 1, 2048): 9.56, (128, 4, 2048): 10.59,
    },
}  # fmt: skip

LLAMA_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}
# torch.cuda.max_memory_reserved on one H200, GiB: torch 2.11, Unsloth 2026.10.9, by rank, micro-batch and length of
# packed rows, without checkpointing.
MEASURED = {
    "lora": {
        (32, 1, 2048): 22.97, (32, 2, 2048): 29.78, (32, 4, 1024): 29.86, (8, 1, 2048): 22.38, (8, 2, 2048): 29.20,
        (128, 1, 2048): 25.41, (128, 2, 2048): 32.20,
    },
    "qlora": {(32, 2, 2048): 20.25},
}  # fmt: skip


def shape(**changed: Any) -> ModelShape:
    found = ModelShape.read({**LLAMA_8B, **changed})
    assert found is not None
    return found


def settings(recipe: dict[str, Any] | None = None, **options: Any) -> TrainSettings:
    return TrainSettings(recipe=TrainRecipe(**(recipe or {})), options=TrainOptions(**options))


def peak(method: str, checkpointing: bool, rows: int, max_length: int = 2048, **recipe: Any) -> float:
    asked = TrainRecipe(method=method, **recipe)
    return memory_of(shape(), asked, micro_batch=rows, checkpointing=checkpointing, max_length=max_length).total


def chosen(room: float | None, recipe: dict[str, Any] | None = None, length: int = 2048, **options: Any) -> Choice:
    return choose(shape(), settings(recipe, **options), room_gib=room, max_length=length)


def test_the_shape_is_read_off_the_config() -> None:
    assert shape().parameters == pytest.approx(8.03e9, rel=0.001)
    assert ModelShape.read({"text_config": LLAMA_8B, "tie_word_embeddings": True}) == shape()
    assert shape(tie_word_embeddings=True).parameters == shape().parameters - 128256 * 4096
    assert shape(head_dim=64).linear["q_proj"] == (4096, 2048)


@pytest.mark.parametrize("config", [{}, {"hidden_size": 8}, {"num_hidden_layers": 2}, {"text_config": None}])
def test_a_config_that_does_not_tell_has_no_shape(config: dict[str, Any]) -> None:
    assert ModelShape.read(config) is None


def test_the_bundled_base_is_counted_right() -> None:
    found = ModelShape.read(json.loads((BASE / "config.json").read_text()))
    assert found is not None
    assert found.parameters == pytest.approx(3072 * 256 + 4 * (256 * 256 * 3 + 3 * 256 * 768), rel=0.01)


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("method", RANKS)
def test_the_measured_peaks_are_predicted(method: str, checkpointing: bool) -> None:
    for (rank, rows, length), measured in (RANKS if checkpointing else MEASURED)[method].items():
        predicted = peak(method, checkpointing, rows, length, rank=rank)
        assert 0.95 * measured <= predicted <= 1.2 * measured, (rank, rows, length)


def test_where_k_and_v_are_spread_they_count() -> None:
    spread = pytest.approx(peak("lora", False, 2) + 2 * 32 * 4096 * 4096 * 2 / 2**30)
    assert peak("lora", False, 2, packing=False) == spread
    older, ampere = (ModelShape.read(LLAMA_8B, capability) for capability in ((7, 5), (8, 0)))
    assert older is not None and ampere == shape()
    assert memory_of(older, TrainRecipe(), micro_batch=2, checkpointing=False, max_length=2048).total == spread


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_more_of_anything_takes_more(method: str) -> None:
    for checkpointing in (True, False):
        rows = [peak(method, checkpointing, count) for count in (1, 2, 4, 8, 16)]
        lengths = [peak(method, checkpointing, 2, length) for length in (1024, 2048, 4096, 8192)]
        assert rows == sorted(set(rows)) and lengths == sorted(set(lengths))
    assert peak(method, True, 2) < peak(method, False, 2)


def test_a_higher_rank_fewer_modules_and_another_optimizer_count() -> None:
    assert peak("lora", True, 2, rank=256) - peak("lora", True, 2, rank=32) == pytest.approx(7 * 0.78, rel=0.01)
    assert peak("lora", True, 2, target_modules=("q_proj", "v_proj")) < peak("lora", True, 2) - 0.5
    assert peak("lora", True, 2, optimizer="adamw_torch") > peak("lora", True, 2)
    assert peak("qlora", True, 2) < peak("lora", True, 2) - 9
    assert peak("lora", False, 2, dropout=0.1) > peak("lora", False, 2)


def test_the_parts_are_the_whole() -> None:
    memory = memory_of(shape(), TrainRecipe(), micro_batch=2, checkpointing=False, max_length=2048)
    assert memory.weights == pytest.approx(14.96, abs=0.01)
    assert memory.adapters == memory.gradients == pytest.approx(0.3125, abs=0.001)
    assert memory.optimizer == pytest.approx(0.156, abs=0.001)
    assert memory.total == pytest.approx(15.74 + memory.activations + memory.logits + memory.overhead, abs=0.01)


@pytest.mark.parametrize(
    ("room", "rows", "checkpointing"), [(139, 2, False), (79, 2, False), (47, 2, False), (31, 1, False), (23, 2, True)]
)
def test_the_default_plan_is_the_fastest_that_fits(room: float, rows: int, checkpointing: bool) -> None:
    found = chosen(room)
    assert (found.micro_batch, found.checkpointing) == (rows, checkpointing)
    assert found.memory is not None and found.memory.total * SPARE <= room
    assert ("it fits" in found.why) is not checkpointing


def test_lora_of_8b_does_not_fit_16_gib_and_qlora_does() -> None:
    with pytest.raises(EngineError, match=r"--method lora needs 17\.\d GiB .* there are 15\.4 GiB") as caught:
        chosen(15.4)
    assert "twinctl train --method qlora (" in caught.value.hint
    assert not chosen(15.4, {"method": "qlora"}).checkpointing
    assert chosen(12, {"method": "qlora"}).checkpointing


@pytest.mark.parametrize(("length", "rows"), [(128, 16), (512, 8), (1024, 4), (2048, 2), (4096, 1), (8192, 1)])
def test_a_pass_holds_about_4096_tokens(length: int, rows: int) -> None:
    assert chosen(139, length=length).micro_batch == rows


def test_what_is_asked_for_is_kept_to() -> None:
    assert chosen(139, micro_batch=8).micro_batch == 8
    assert chosen(139, {"batch_size": 4}, micro_batch=8).micro_batch == 4
    assert chosen(60, micro_batch=8).checkpointing
    found = chosen(139, gradient_checkpointing="on")
    assert (found.micro_batch, found.checkpointing, found.why) == (2, True, "checkpointing on as asked")
    assert chosen(31, gradient_checkpointing="off").micro_batch == 1


@pytest.mark.parametrize("room", [4.0, 6.0, 8.0, 12.0, 17.0, 19.0, 30.0, 60.0])
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": "off"}, {"micro_batch": 16}])
@pytest.mark.parametrize("length", [2048, 16384])
def test_the_recipe_of_a_refusal_fits(room: float, method: str, options: dict[str, Any], length: int) -> None:
    asked = settings({"method": method}, **options)
    if fitting(shape(), asked, room_gib=room, max_length=length):
        return
    with pytest.raises(EngineError) as caught:
        choose(shape(), asked, room_gib=room, max_length=length)
    hint = caught.value.hint
    assert "a larger GPU" in hint or "twinctl " in hint
    for mend in () if "a larger GPU" in hint else hint.split("; or "):
        words = dict(re.findall(r"--([a-z-]+) (\w+)", mend))
        changed = settings(
            {"method": words.get("method", method)},
            **{
                **options,
                **({"micro_batch": int(words["micro-batch"])} if "micro-batch" in words else {}),
                **({"gradient_checkpointing": "on"} if "gradient-checkpointing" in words else {}),
            },
        )
        assert fitting(shape(), changed, room_gib=room, max_length=int(words.get("max-length", length))), mend


def test_the_least_change_is_advised() -> None:
    def hint(room: float, length: int = 2048, method: str = "lora", **options: Any) -> str:
        with pytest.raises(EngineError) as caught:
            chosen(room, {"method": method}, length, **options)
        assert caught.value.exit_code == 6
        return caught.value.hint

    assert hint(20, gradient_checkpointing="off").startswith("twinctl train --gradient-checkpointing on (")
    assert hint(18, micro_batch=16).startswith("twinctl train --micro-batch ")
    assert hint(26, length=65536).startswith("twinctl train --method qlora (")
    assert "; or twinctl prepare --max-length " in hint(26, length=65536)
    assert hint(8, length=65536, method="qlora").startswith("twinctl prepare --max-length ")
    assert hint(3) == "use a larger GPU, or a smaller model"


def test_on_a_cpu_nothing_is_refused() -> None:
    found = chosen(None)
    assert (found.micro_batch, found.checkpointing) == (2, False)
    assert chosen(None, {"batch_size": 9}).micro_batch == 1
    assert chosen(None, micro_batch=4).micro_batch == 4
    assert chosen(None, gradient_checkpointing="on").checkpointing
    assert choose(None, settings(), room_gib=None, max_length=64).memory is None


def test_a_shape_that_is_not_known_gets_the_leanest_plan() -> None:
    found = choose(None, settings(), room_gib=24, max_length=2048)
    assert (found.micro_batch, found.checkpointing, found.memory) == (1, True, None)


def test_the_bundled_base_fits_anywhere() -> None:
    found = ModelShape.read(json.loads((BASE / "config.json").read_text()))
    choice = choose(found, settings(), room_gib=2, max_length=512)
    assert (choice.micro_batch, choice.checkpointing) == (8, False)


def test_a_prediction_leaves_room_for_its_error() -> None:
    memory = memory_of(shape(), TrainRecipe(), micro_batch=2, checkpointing=False, max_length=2048)
    assert fits(memory, memory.total * SPARE) and not fits(
        replace(memory, logits=memory.logits + 0.1), memory.total * SPARE
    )


def test_a_damaged_config_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": ')
    with pytest.raises(UpstreamError, match=r"config\.json is damaged") as caught:
        ModelShape.load(tmp_path)
    assert "download the model again" in caught.value.hint
