"""A file that was written is the model: llama.cpp gives the next-token distributions that transformers gives.

Measured, largest KL over the positions: f32 4e-13, f16 3e-7, bf16 2e-5, q8_0 4e-4; with a planted fault (rows not
interleaved, no rope_freqs) 0.19 in each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinctl.gguf.writer import write_gguf


@pytest.mark.parametrize(("quant", "limit"), [("f32", 1e-9), ("f16", 1e-5), ("bf16", 1e-4), ("q8_0", 1e-3)])
def test_llama3_in_each_quant(
    quant: str, limit: float, llama_folder: tuple[Path, Any], tmp_path: Path, run_gguf: Any, divergence: Any
) -> None:
    folder, model = llama_folder
    written = write_gguf(folder, tmp_path / "model.gguf", quant, name="tiny")
    assert divergence(model, run_gguf(written.path)) < limit


VARIANTS: dict[str, dict[str, Any]] = {
    "tied embeddings": {"tie_word_embeddings": True},
    "linear scaling": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    "another theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
    "no grouped queries": {"num_key_value_heads": 8},
    "own head size": {"head_dim": 64},
    "mistral": {"family": "Mistral", "sliding_window": None},
    "qwen2": {"family": "Qwen2"},
    "qwen3": {"family": "Qwen3", "head_dim": 64},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str, tmp_path: Path, save_model: Callable[..., Any], run_gguf: Any, divergence: Any) -> None:
    """In f32, where what is exact shows as exact."""
    model = save_model(tmp_path / "hf", **VARIANTS[variant])
    written = write_gguf(tmp_path / "hf", tmp_path / "model.gguf", "f32", name="tiny")
    assert divergence(model, run_gguf(written.path)) < 1e-9
