"""A model's sizes, read off its config.json and its files.

What must stay true: the count of parameters is right to within a few per cent for a dense decoder, and 0 or None says
that it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.config.train import TrainRecipe
from twinctl.workspace.files import read_json

AMPERE = (8, 0)  # the first with torch's kernel for packed rows


def weights_bytes(folder: Path) -> int:
    """Bytes of the safetensors files in a model's folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@dataclass(frozen=True)
class ModelShape:
    """A dense decoder's sizes, and whether attention on the GPU at hand needs more than they say."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    spread_kv: bool = False  # the GPU has no kernel for packed rows that takes k and v as they are

    @classmethod
    def load(cls, folder: Path, capability: tuple[int, int] | None = None) -> ModelShape | None:
        """That of the model in a folder; see `read`. Raises UpstreamError for a damaged config.json."""
        return cls.read(read_json(folder / "config.json", "download the model again, or write it again"), capability)

    @classmethod
    def read(cls, config: Mapping[str, Any], capability: tuple[int, int] | None = None) -> ModelShape | None:
        """From a config.json, on a GPU of this compute capability; None if it does not tell."""
        config = {**config, **(config.get("text_config") or {})}
        hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
        if not isinstance(hidden, int) or not isinstance(layers, int) or not hidden or not layers:
            return None
        heads = config.get("num_attention_heads") or 1
        return cls(
            hidden=hidden,
            layers=layers,
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            intermediate=config.get("intermediate_size") or 4 * hidden,
            vocab=config.get("vocab_size") or 0,
            tied=bool(config.get("tie_word_embeddings")),
            spread_kv=capability is not None and capability < AMPERE,
        )

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's matrices, by the names that Llama gave them."""
        attention, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, attention),
            "k_proj": (self.hidden, kv),
            "v_proj": (self.hidden, kv),
            "o_proj": (attention, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def in_layers(self) -> int:
        """Parameters of all layers' matrices: what QLoRA holds in 4 bit."""
        return self.layers * sum(rows * columns for rows, columns in self.linear.values())

    @property
    def embeddings(self) -> int:
        """Parameters of the embedding and, where it is one of its own, of the output matrix."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All of them, to within a few per cent."""
        return self.in_layers + self.embeddings

    def adapters(self, recipe: TrainRecipe) -> list[int]:
        """The sizes of one layer's adapter matrices."""
        sizes = []
        for name in recipe.target_modules:
            inputs, outputs = self.linear.get(name, (0, 0))
            sizes += [recipe.rank * inputs, recipe.rank * outputs, *([outputs] if recipe.dora else [])]
        return sizes
