"""Rotary position embeddings: what a model's config says of them, and how GGUF says the same.

What must stay true: a scaling that we cannot express exactly is refused. A wrong one shows in no error, and hardly in
perplexity: only in distributions at positions beyond the original context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, pi
from typing import Any

import numpy as np

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.checkpoint import Float32


@dataclass(frozen=True)
class Rope:
    """`kind` is default, linear, yarn or llama3; `settings` are that kind's own numbers, under the config's names."""

    theta: float
    kind: str = "default"
    settings: Mapping[str, float] = field(default_factory=dict)


_NUMBERS = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


# What llama.cpp takes for granted with yarn, and where transformers would take it from.
_YARN_FIXED: Mapping[str, Any] = {
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": None,
    "mscale_all_dim": None,
    "truncate": True,
}


def read_rope(config: Mapping[str, Any]) -> Rope:
    """The rotary embedding of a config.json, as transformers 5 writes it (`rope_parameters`) or as 4 did; that of the
    layers with full attention, where they differ.

    Raises ConfigError for a kind of scaling that is not one of ours, UpstreamError where one of its numbers is missing.
    """
    given = _given(config)
    given = given.get("full_attention", given)
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in _NUMBERS:
        raise ConfigError(
            f"config.json: rope scaling of the kind {kind!r} cannot be written as GGUF", f"known: {', '.join(_NUMBERS)}"
        )
    if (given.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ConfigError("config.json: rotary embeddings over a part of each head cannot be written as GGUF")
    try:
        numbers = {name: float(given[name]) for name in _NUMBERS[kind]}
        theta = float(given.get("rope_theta", config.get("rope_theta", 10_000.0)))
        if kind == "yarn":
            for name, wanted in _YARN_FIXED.items():
                if (given.get(name) if given.get(name) is not None else wanted) != wanted:
                    raise ConfigError(f"config.json: yarn with {name} = {given[name]!r} cannot be written as GGUF")
            # How much attention is sharpened, against the paper's 0.1 ln(factor) + 1 (arXiv:2309.00071), which goes
            # unsaid.
            usual = 0.1 * log(numbers["factor"]) + 1.0
            numbers["attention"] = float(given.get("attention_factor") or usual) / usual
        return Rope(theta, kind, numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamError(f"config.json: rope scaling {kind!r} needs the number {error}") from error


def read_local_theta(config: Mapping[str, Any]) -> float:
    """The theta of layers with a sliding window, for a model that has both kinds; 10,000 where nothing says so."""
    local = _given(config).get("sliding_attention") or {}
    kind = local.get("rope_type", "default")
    if kind != "default":
        raise ConfigError(
            f"config.json: rope scaling {kind!r} of layers with a sliding window cannot be written as GGUF"
        )
    return float(local.get("rope_theta", config.get("rope_local_base_freq", 10_000.0)))


def _given(config: Mapping[str, Any]) -> Mapping[str, Any]:
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise UpstreamError(f"config.json: rope_parameters is not an object but {given!r}")
    return given


def frequency_factors(rope: Rope, head_dim: int) -> Float32 | None:
    """What each of head_dim/2 rotary frequencies is divided by: GGUF's `rope_freqs`; None unless llama3 scaling.

    Llama 3.1's rule: wavelengths below original/high stay, those above original/low are stretched by `factor`,
    and between the two the inverse factor goes linearly with original/wavelength.
    """
    if rope.kind != "llama3":
        return None
    factor, low, high, original = (rope.settings[name] for name in _NUMBERS["llama3"])
    wavelength = 2 * pi * rope.theta ** (np.arange(0, head_dim, 2) / head_dim)
    blend = np.clip((original / wavelength - low) / (high - low), 0.0, 1.0)
    return (1 / ((1 - blend) / factor + blend)).astype(np.float32)
