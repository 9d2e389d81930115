"""Rotary settings are read from both generations of config.json, and refused where GGUF cannot say them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.rope import Rope, frequency_factors, read_local_theta, read_rope

LLAMA31 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def test_factors_are_those_of_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {"rope_type": "llama3", "rope_theta": 500_000.0, **LLAMA31}
    config = LlamaConfig(rope_parameters=parameters, head_dim=128)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    plain = 1 / 500_000.0 ** (np.arange(0, 128, 2) / 128)
    factors = frequency_factors(read_rope(config.to_dict()), 128)
    assert factors is not None and factors.dtype == np.float32
    np.testing.assert_allclose(plain / factors, scaled.numpy(), rtol=2e-6)
    assert factors[0] == 1.0 and factors[-1] == 8.0 and 1 < factors[len(factors) // 2] < 8


def test_transformers_4_wrote_it_otherwise() -> None:
    new = read_rope({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA31}})
    assert read_rope({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA31}}) == new
    assert read_rope({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}}).settings == {"factor": 2.0}
    assert read_rope({"rope_theta": 1e6, "rope_scaling": None}).kind == "default"


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, ConfigError, "'dynamic'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, UpstreamError, "original_max_position_embeddings"),
        ({"rope_scaling": {**YARN, "beta_fast": 16}}, ConfigError, "beta_fast = 16"),
        ({"rope_scaling": {**YARN, "truncate": False}}, ConfigError, "truncate = False"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, ConfigError, "part of each head"),
        ({"rope_scaling": {"type": "linear"}}, UpstreamError, "'factor'"),
        ({"rope_scaling": 3}, UpstreamError, "not an object"),
    ],
)
def test_what_cannot_be_said_is_refused(config: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        read_rope(config)


def test_gemmas_two_thetas() -> None:
    new = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}
    new["sliding_attention"] = {"rope_type": "default", "rope_theta": 1e4}
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert read_rope({"rope_parameters": new}) == read_rope(old) == Rope(1e6, "linear", {"factor": 8.0})
    assert read_local_theta({"rope_parameters": new}) == read_local_theta(old) == 1e4
    new["sliding_attention"]["rope_type"] = "linear"
    with pytest.raises(ConfigError, match="sliding window"):
        read_local_theta({"rope_parameters": new})


def test_yarns_strength_is_told_against_the_papers() -> None:
    assert read_rope({"rope_scaling": YARN}).settings["attention"] == 1.0
    usual = 0.1 * np.log(4.0) + 1.0
    found = read_rope({"rope_scaling": {**YARN, "attention_factor": 2 * usual}}).settings["attention"]
    assert found == pytest.approx(2.0)
