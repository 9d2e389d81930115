"""A file that was written is the model: llama.cpp gives the next-token distributions that transformers gives.

Measured, largest KL over the positions: f32 4e-13, f16 3e-7, bf16 2e-5, q8_0 4e-4, q6_k 2.5e-3,
q5_k_m 9e-3, q4_k_m 4e-2, q3_k_m 0.1 (random weights are the hardest to quantise); with a planted fault (rows not
interleaved, no rope_freqs) 0.19 in the first four.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinctl.gguf.writer import write_gguf

LIMITS = {
    "f32": 1e-9,
    "f16": 1e-5,
    "bf16": 1e-4,
    "q8_0": 1e-3,
    "q6_k": 5e-3,
    "q5_k_m": 2e-2,
    "q4_k_m": 6e-2,
    "q3_k_m": 0.2,
}


@pytest.mark.parametrize(("quant", "limit"), LIMITS.items())
def test_llama3_in_each_quant(
    quant: str, limit: float, llama_folder: tuple[Path, Any], tmp_path: Path, run_gguf: Any, divergence: Any
) -> None:
    folder, model = llama_folder
    written = write_gguf(folder, tmp_path / "model.gguf", quant, name="tiny")
    assert divergence(model, run_gguf(written.path)) < limit


# Original length 64, so that most positions that are asked for lie beyond.
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 64}
VARIANTS: dict[str, dict[str, Any]] = {
    "tied embeddings": {"tie_word_embeddings": True},
    "linear scaling": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    "another theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
    "no grouped queries": {"num_key_value_heads": 8},
    "own head size": {"head_dim": 64},
    "yarn": {"family": "Qwen3", "rope_parameters": YARN},
    "yarn of its own strength": {"rope_parameters": {**YARN, "attention_factor": 1.3}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str, tmp_path: Path, save_model: Callable[..., Any], run_gguf: Any, divergence: Any) -> None:
    """In f32, where what is exact shows as exact."""
    model = save_model(tmp_path / "hf", **VARIANTS[variant])
    written = write_gguf(tmp_path / "hf", tmp_path / "model.gguf", "f32", name="tiny")
    assert divergence(model, run_gguf(written.path)) < 1e-9


def test_a_model_of_text_inside_one_that_sees(
    tmp_path: Path, save_model: Callable[..., Any], run_gguf: Any, divergence: Any
) -> None:
    """Gemma 3 from 4B on: the text alone is written, by either generation's names."""
    import json

    from safetensors.torch import load_file, save_file

    model = save_model(
        tmp_path / "hf", family="Gemma3", head_dim=64, query_pre_attn_scalar=64, tie_word_embeddings=True
    )
    weights = tmp_path / "hf" / "model.safetensors"
    plain, config = load_file(weights), json.loads((tmp_path / "hf" / "config.json").read_text())
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": config, "vision_config": {}}
    (tmp_path / "hf" / "config.json").write_text(json.dumps(outer))
    for number, (text, sight) in enumerate((("language_model.model.", ""), ("model.language_model.", "model."))):
        inside = {name.replace("model.", text, 1): tensor for name, tensor in plain.items()}
        inside[f"{sight}vision_tower.patches.weight"] = plain["model.norm.weight"].clone()
        save_file(inside, weights)
        written = write_gguf(tmp_path / "hf", tmp_path / f"{number}.gguf", "f32", name="tiny")
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()
    assert divergence(model, run_gguf(written.path)) < 1e-6


def test_a_window_that_llama_cpp_does_not_know_ends_the_context(tmp_path: Path, save_model: Callable[..., Any]) -> None:
    from gguf import GGUFReader

    save_model(tmp_path / "hf", family="Mistral", sliding_window=128)
    written = write_gguf(tmp_path / "hf", tmp_path / "m.gguf", "f16", name="tiny")
    assert GGUFReader(written.path).fields["llama.context_length"].contents() == 128
