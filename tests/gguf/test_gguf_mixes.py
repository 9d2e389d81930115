"""Which type each tensor gets: as llama.cpp's own tools chose for well-known models.

The sizes are those of tools/quantize/README.md in llama.cpp's repository, for Llama 3.1 8B: bits a weight, of the
tensors alone.
"""

from __future__ import annotations

from math import prod

import pytest
from gguf import GGMLQuantizationType as T

from twinctl.config.export import QUANTS as OFFERED
from twinctl.errors import ConfigError
from twinctl.gguf.quant_types import QUANTS, ModelTraits, find_quant

EIGHT_B = ModelTraits(layers=32, tied=False)
# Layers whose attn_v and ffn_down are Q6_K in llama.cpp's q4_k_m and q5_k_m of 32 layers.
MORE_BITS = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31}
OUTSIDE = {"token_embd.weight": (128_256, 4096), "output.weight": (128_256, 4096), "output_norm.weight": (4096,)}
LAYER = {
    "attn_norm": (4096,),
    "attn_q": (4096, 4096),
    "attn_k": (1024, 4096),
    "attn_v": (1024, 4096),
    "attn_output": (4096, 4096),
    "ffn_norm": (4096,),
    "ffn_gate": (14336, 4096),
    "ffn_up": (14336, 4096),
    "ffn_down": (4096, 14336),
}
SHAPES = OUTSIDE | {f"blk.{layer}.{name}.weight": shape for layer in range(32) for name, shape in LAYER.items()}
BITS = {
    "f16": 16.0005,
    "q8_0": 8.5008,
    "q6_k": 6.5633,
    "q5_k_m": 5.7036,
    "q4_k_m": 4.8944,
    "q3_k_m": 3.9960,
}


def _types(quant: str, part: str, model: ModelTraits = EIGHT_B) -> list[T]:
    mix = find_quant(quant)
    return [mix.type_of(f"blk.{layer}.{part}.weight", (4096, 4096), model) for layer in range(model.layers)]


def test_what_is_offered_can_be_written() -> None:
    assert set(OFFERED) == set(QUANTS)
    with pytest.raises(ConfigError, match="q2_k"):
        find_quant("q2_k")


@pytest.mark.parametrize("quant", BITS)
def test_an_8b_has_llama_cpps_size(quant: str) -> None:
    from twinctl.gguf.encoding import Tensor

    mix = find_quant(quant)
    tensors = [Tensor(name, shape, mix.type_of(name, shape, EIGHT_B), None) for name, shape in SHAPES.items()]  # type: ignore[arg-type]
    weights = sum(map(prod, SHAPES.values()))
    assert weights == 8_030_261_248
    assert 8 * sum(tensor.size for tensor in tensors) / weights == pytest.approx(BITS[quant], abs=6e-5)


@pytest.mark.parametrize(("quant", "less"), [("q4_k_m", T.Q4_K), ("q5_k_m", T.Q5_K)])
@pytest.mark.parametrize("part", ["attn_v", "ffn_down"])
def test_the_medium_mixes(quant: str, less: T, part: str) -> None:
    assert _types(quant, part) == [T.Q6_K if layer in MORE_BITS else less for layer in range(32)]
    for other in ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"):
        assert set(_types(quant, other)) == {less}


def test_q3_k_m() -> None:
    assert _types("q3_k_m", "attn_v") == [T.Q5_K] * 2 + [T.Q4_K] * 30
    assert _types("q3_k_m", "ffn_down") == [T.Q5_K] * 2 + [T.Q4_K] * 30
    assert _types("q3_k_m", "ffn_down", ModelTraits(15, tied=False)) == [T.Q4_K] * 15
    assert set(_types("q3_k_m", "attn_output")) == {T.Q4_K}
    assert set(_types("q3_k_m", "ffn_up")) == {T.Q3_K}


def test_values_of_a_70b_get_more() -> None:
    big = ModelTraits(80, tied=False, is_70b=True)
    assert set(_types("q4_k_m", "attn_v", big)) == {T.Q6_K, T.Q5_K}
    assert set(_types("q3_k_m", "attn_v", big)) == {T.Q5_K}
    assert set(_types("q4_k_m", "ffn_down", big)) == {T.Q6_K, T.Q4_K}


@pytest.mark.parametrize(
    ("quant", "embedding", "head"),
    [
        ("q8_0", T.Q8_0, T.Q8_0),
        ("q6_k", T.Q6_K, T.Q6_K),
        ("q4_k_m", T.Q4_K, T.Q6_K),
        ("q3_k_m", T.Q3_K, T.Q6_K),
        ("bf16", T.BF16, T.BF16),
    ],
)
def test_the_head_gets_more_also_where_it_is_the_embedding(quant: str, embedding: T, head: T) -> None:
    mix, shape, tied = find_quant(quant), (1000, 4096), ModelTraits(32, tied=True)
    assert mix.type_of("token_embd.weight", shape, EIGHT_B) == embedding
    assert mix.type_of("output.weight", shape, EIGHT_B) == mix.type_of("token_embd.weight", shape, tied) == head
    assert mix.type_of("output.weight", (1000, 4000), EIGHT_B) == (head if quant == "bf16" else T.Q8_0)


@pytest.mark.parametrize(
    ("quant", "by_32", "by_none"),
    [("q3_k_m", T.Q4_0, T.F16), ("q4_k_m", T.Q5_0, T.F16), ("q5_k_m", T.Q5_1, T.F16), ("q6_k", T.Q8_0, T.F16)],
)
def test_rows_that_no_256_fill(quant: str, by_32: T, by_none: T) -> None:
    mix = find_quant(quant)
    assert mix.type_of("blk.5.ffn_up.weight", (64, 288), EIGHT_B) == by_32
    assert mix.type_of("blk.5.ffn_up.weight", (64, 100), EIGHT_B) == by_none
    assert mix.type_of("blk.5.ffn_up.bias", (288,), EIGHT_B) == T.F32
