"""The model families that can be written, as data: what each tensor is called, its shape, and what must hold.

What must stay true: a checkpoint is taken whole or not at all. Each tensor that a family asks for is there in the shape
the config implies, and each tensor that is there was asked for: a bias that nobody mapped would be a wrong model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.checkpoint import StoredTensor
from twinctl.gguf.rope import Rope, read_rope


@dataclass(frozen=True)
class Weight:
    """A tensor's GGUF name, the names of its sides (see `Hyperparameters.sides`), and whose heads are interleaved."""

    name: str
    sides: tuple[str, ...]
    rotary: str = ""


@dataclass(frozen=True)
class Family:
    """An architecture: its GGUF name, the tensors of one layer by transformers' names, and settings that must hold."""

    arch: str
    layer: Mapping[str, Weight]
    settings: Mapping[str, Any] = field(default_factory=dict)


_OUTSIDE = {
    "model.embed_tokens.weight": Weight("token_embd.weight", ("vocabulary", "hidden")),
    "model.norm.weight": Weight("output_norm.weight", ("hidden",)),
    "lm_head.weight": Weight("output.weight", ("vocabulary", "hidden")),
}
_COMMON = {
    "input_layernorm.weight": Weight("attn_norm.weight", ("hidden",)),
    "self_attn.q_proj.weight": Weight("attn_q.weight", ("queries", "hidden")),
    "self_attn.k_proj.weight": Weight("attn_k.weight", ("keys", "hidden")),
    "self_attn.v_proj.weight": Weight("attn_v.weight", ("keys", "hidden")),
    "self_attn.o_proj.weight": Weight("attn_output.weight", ("hidden", "queries")),
    "post_attention_layernorm.weight": Weight("ffn_norm.weight", ("hidden",)),
    "mlp.gate_proj.weight": Weight("ffn_gate.weight", ("feed_forward", "hidden")),
    "mlp.up_proj.weight": Weight("ffn_up.weight", ("feed_forward", "hidden")),
    "mlp.down_proj.weight": Weight("ffn_down.weight", ("hidden", "feed_forward")),
}
# llama.cpp runs the "llama" architecture with neighbouring rotary pairs, and the later ones with half-split pairs.
_INTERLEAVED = {
    "self_attn.q_proj.weight": Weight("attn_q.weight", ("queries", "hidden"), rotary="heads"),
    "self_attn.k_proj.weight": Weight("attn_k.weight", ("keys", "hidden"), rotary="kv_heads"),
}
_QKV_BIASES = {
    "self_attn.q_proj.bias": Weight("attn_q.bias", ("queries",)),
    "self_attn.k_proj.bias": Weight("attn_k.bias", ("keys",)),
    "self_attn.v_proj.bias": Weight("attn_v.bias", ("keys",)),
}
_HEAD_NORMS = {
    "self_attn.q_norm.weight": Weight("attn_q_norm.weight", ("head_dim",)),
    "self_attn.k_norm.weight": Weight("attn_k_norm.weight", ("head_dim",)),
}

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family(
        "llama", {**_COMMON, **_INTERLEAVED}, {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    ),
    # A sliding window would be ignored by llama.cpp's "llama": right only up to the window's length.
    "MistralForCausalLM": Family("llama", {**_COMMON, **_INTERLEAVED}, {"hidden_act": "silu", "sliding_window": None}),
    "Qwen2ForCausalLM": Family(
        "qwen2", {**_COMMON, **_QKV_BIASES}, {"hidden_act": "silu", "use_sliding_window": False}
    ),
    "Qwen3ForCausalLM": Family(
        "qwen3",
        {**_COMMON, **_HEAD_NORMS},
        {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False},
    ),
}

# What transformers takes where a config.json does not say, if that is not what we want.
_UNSTATED: Mapping[str, Any] = {"sliding_window": 4096}


@dataclass(frozen=True)
class Hyperparameters:
    """What a config.json says of a model's size; counts are of elements, heads or positions."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    rms_eps: float
    rope: Rope
    tied: bool

    def sides(self) -> dict[str, int]:
        """The lengths that a `Weight`'s sides stand for."""
        return {
            "hidden": self.hidden,
            "feed_forward": self.feed_forward,
            "queries": self.heads * self.head_dim,
            "keys": self.kv_heads * self.head_dim,
            "head_dim": self.head_dim,
            "vocabulary": self.vocabulary,
        }


def find_family(config: Mapping[str, Any]) -> Family:
    """The family of a config.json. Raises ConfigError for an architecture, or a variant of one, that is not ours."""
    architectures = config.get("architectures") or []
    name = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise ConfigError(
            f"GGUF cannot be written for the architecture {architectures!r}", f"known: {', '.join(FAMILIES)}"
        )
    for setting, wanted in family.settings.items():
        found = config.get(setting, _UNSTATED.get(setting, wanted))
        if found != wanted:
            raise ConfigError(f"GGUF cannot be written for {name} with {setting} = {found!r}, only with {wanted!r}")
    if config.get("quantization_config"):
        raise ConfigError(
            "the model is quantised already; GGUF is written from 16-bit weights", "merge to 16 bit first"
        )
    return family


def read_hyperparameters(config: Mapping[str, Any]) -> Hyperparameters:
    """The numbers of a config.json. Raises UpstreamError, naming the key, where one is missing or is no count."""
    heads, hidden = _count(config, "num_attention_heads"), _count(config, "hidden_size")
    return Hyperparameters(
        layers=_count(config, "num_hidden_layers"),
        hidden=hidden,
        feed_forward=_count(config, "intermediate_size"),
        heads=heads,
        kv_heads=_count(config, "num_key_value_heads", heads),
        head_dim=_count(config, "head_dim", hidden // heads),
        vocabulary=_count(config, "vocab_size"),
        context=_count(config, "max_position_embeddings"),
        rms_eps=float(config.get("rms_norm_eps") or 1e-6),
        rope=read_rope(config),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _count(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or value <= 0:
        raise UpstreamError(f"config.json: {key} is {value!r}, and should be a positive whole number")
    return value


def assign(
    family: Family, numbers: Hyperparameters, stored: Mapping[str, StoredTensor]
) -> list[tuple[Weight, StoredTensor]]:
    """Each tensor of the file, in order, with where its numbers come from.

    Raises UpstreamError for a tensor that is missing or of another shape, ConfigError for one that no rule knows.
    """
    # Old checkpoints keep the rotary frequencies, which the config says as well.
    left = {name: tensor for name, tensor in stored.items() if not name.endswith("rotary_emb.inv_freq")}
    if numbers.tied:
        _drop_copy_of_embedding(left)
    pairs = []
    for name, weight in _wanted(family, numbers):
        tensor = left.pop(name, None)
        shape = tuple(numbers.sides()[side] for side in weight.sides)
        if tensor is None:
            raise UpstreamError(
                f"the model has no tensor {name!r}", "make the merged model again, or download it again"
            )
        if tensor.shape != shape:
            raise UpstreamError(f"{tensor.file}: {name!r} has the shape {tensor.shape}, config.json implies {shape}")
        pairs.append((weight, tensor))
    if left:
        raise ConfigError(
            f"GGUF has no place for {sorted(left)[:3]} ({len(left)} such tensors)",
            "is it a variant of this architecture?",
        )
    return pairs


def _wanted(family: Family, numbers: Hyperparameters) -> Iterator[tuple[str, Weight]]:
    for name, weight in _OUTSIDE.items():
        if not (numbers.tied and weight.name == "output.weight"):
            yield name, weight
    for layer in range(numbers.layers):
        for name, weight in family.layer.items():
            yield f"model.layers.{layer}.{name}", Weight(f"blk.{layer}.{weight.name}", weight.sides, weight.rotary)


def _drop_copy_of_embedding(left: dict[str, StoredTensor]) -> None:
    """Tied embeddings are stored once; some savers store both. Two that differ leave open which one the model is."""
    head, embedding = left.pop("lm_head.weight", None), left.get("model.embed_tokens.weight")
    if head is None or embedding is None:
        return
    if head.dtype != embedding.dtype or not np.array_equal(head.read(), embedding.read()):
        raise UpstreamError(
            f"{head.file}: config.json ties lm_head to the embeddings, and the two differ",
            "set tie_word_embeddings to what is meant",
        )
