"""A checked model: the numbers of its config.json, and for each tensor of the file where its numbers come from.

What must stay true: a checkpoint is taken whole or not at all. Each tensor that a family asks for is there in the shape
the config implies, and each tensor that is there was asked for: a bias that nobody mapped would be a wrong model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.checkpoint import StoredTensor
from twinctl.gguf.families import OUTSIDE, Family, Weight
from twinctl.gguf.rope import Rope, read_local_theta, read_rope

_ROWS = 4096  # of two embeddings that are compared at a time
_AGAIN = "make the merged model again, or download it again"


@dataclass(frozen=True)
class Hyperparameters:
    """What a config.json says of a model's size; counts are of elements, heads or positions.

    `window` and `local_theta` are of layers that see the last positions only, for a family that has such.
    """

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
    window: int | None = None
    local_theta: float | None = None

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


def read_hyperparameters(config: Mapping[str, Any], family: Family) -> Hyperparameters:
    """The numbers of a config.json. Raises UpstreamError, naming the key, where one is missing or is no count, and
    ConfigError for what llama.cpp would run differently.
    """
    config = family.of_text(config)
    heads, hidden = _count(config, "num_attention_heads"), _count(config, "hidden_size")
    numbers = Hyperparameters(
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
    if family.arch == "gemma3":
        _require_usual_gemma(numbers, config)
        return replace(numbers, window=_count(config, "sliding_window"), local_theta=read_local_theta(config))
    if family.arch == "llama" and config.get("sliding_window") is not None:
        # llama.cpp's "llama" knows no window: up to the window's length it is the same model, and no further.
        return replace(numbers, context=min(numbers.context, _count(config, "sliding_window")))
    return numbers


def _require_usual_gemma(numbers: Hyperparameters, config: Mapping[str, Any]) -> None:
    """llama.cpp (src/models/gemma3.cpp) takes for granted which layers see everything, and the scale of attention."""
    usual = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(numbers.layers)]
    pattern = config.get("sliding_window_pattern", config.get("_sliding_window_pattern", 6))
    if (config.get("layer_types") or usual) != usual or pattern != 6:
        raise ConfigError("GGUF cannot be written for Gemma 3 unless each sixth layer, and no other, sees everything")
    scale = numbers.hidden // numbers.heads if numbers.layers == 62 else numbers.head_dim
    if config.get("query_pre_attn_scalar", 256) != scale:
        stated = config.get("query_pre_attn_scalar", 256)
        raise ConfigError(f"GGUF cannot be written for Gemma 3 with query_pre_attn_scalar = {stated!r}, not {scale}")


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
    stored = _of_text(stored) if family.sees else stored
    left = {name: tensor for name, tensor in stored.items() if not name.endswith("rotary_emb.inv_freq")}
    if numbers.tied:
        _drop_copy_of_embedding(left)
    pairs = []
    for name, weight in _wanted(family, numbers):
        tensor = left.pop(name, None)
        shape = tuple(numbers.sides()[side] for side in weight.sides)
        if tensor is None:
            raise UpstreamError(f"the model has no tensor {name!r}", _AGAIN)
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
    weights = dict(OUTSIDE)
    for layer in range(numbers.layers):
        for name, weight in family.layer.items():
            weights[f"model.layers.{layer}.{name}"] = replace(weight, name=f"blk.{layer}.{weight.name}")
    for name, weight in weights.items():
        if weight.name == "output.weight" and numbers.tied:
            continue
        yield name, replace(weight, plus=family.norms_plus) if weight.name.endswith("_norm.weight") else weight


_OF_SIGHT = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")
_OF_TEXT = {"model.language_model.": "model.", "language_model.": ""}  # as transformers 5 and 4 call them


def _of_text(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors of the model of text, by the names that they have where it stands alone."""
    tensors = {}
    for name, tensor in stored.items():
        prefix = next((prefix for prefix in _OF_TEXT if name.startswith(prefix)), "")
        if not name.startswith(_OF_SIGHT):
            tensors[_OF_TEXT.get(prefix, "") + name.removeprefix(prefix)] = tensor
    return tensors


def _drop_copy_of_embedding(left: dict[str, StoredTensor]) -> None:
    """Tied embeddings are stored once; some savers store both. Two that differ leave open which one the model is."""
    head, embedding = left.pop("lm_head.weight", None), left.get("model.embed_tokens.weight")
    if head is None or embedding is None:
        return
    are_equal = (head.dtype, head.shape) == (embedding.dtype, embedding.shape)
    for begin in range(0, head.rows if are_equal else 0, _ROWS):
        end = min(begin + _ROWS, head.rows)
        are_equal = are_equal and np.array_equal(head.read(begin, end), embedding.read(begin, end))
    if not are_equal:
        raise UpstreamError(
            f"{head.file}: config.json ties lm_head to the embeddings, and the two differ",
            "set tie_word_embeddings to what is meant",
        )
