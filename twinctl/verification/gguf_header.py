"""The parts of a GGUF file's header that must agree with the model it was made of: stop token, rotary embedding.

What must stay true: the numbers come from the file as written, not from what wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twinctl.errors import CheckFailed


@dataclass(frozen=True)
class Header:
    """What a header says. `eos`: the id, or None. `rotary`: the inverse frequencies by which llama.cpp rotates, each
    kind once; none for a scaling where it computes them from the context.
    """

    architecture: str
    eos: int | None
    rotary: list[list[float]]

    @classmethod
    def read(cls, path: Path) -> Header:
        """Read a file's header. Raises CheckFailed for a file that is damaged or cut short."""
        from gguf import GGUFReader

        try:
            reader = GGUFReader(path)
            fields = {name: field.contents() for name, field in reader.fields.items() if "tokenizer.ggml.t" not in name}
            factors = next((tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"), None)
            architecture = fields["general.architecture"]
            return cls(architecture, fields.get("tokenizer.ggml.eos_token_id"), _rotary(fields, architecture, factors))
        except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
            raise CheckFailed(f"{path.name} is no whole GGUF file: {error}", "write it again: --restart") from error


def _rotary(fields: dict[str, Any], architecture: str, factors: Any) -> list[list[float]]:
    scaling = fields.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        return []
    width = fields.get(f"{architecture}.rope.dimension_count") or fields[f"{architecture}.attention.key_length"]
    exponents = -np.arange(0, width, 2) / width
    base = float(fields.get(f"{architecture}.rope.freq_base", 10_000.0))
    stretch = fields.get(f"{architecture}.rope.scaling.factor", 1.0) if scaling == "linear" else 1.0
    kinds = [base**exponents / stretch / (1.0 if factors is None else factors)]
    if architecture == "gemma3":  # its layers with a window rotate unscaled, by 10,000 unless the file says otherwise
        kinds.append(float(fields.get("gemma3.rope.freq_base_swa", 10_000.0)) ** exponents)
    return [kind.tolist() for kind in kinds]


def rotary_distance(wanted: Sequence[float], kinds: Sequence[Sequence[float]]) -> float:
    """The largest relative difference from the nearest of the kinds; infinite if none has as many frequencies."""
    distances = [
        float(np.max(np.abs(np.divide(kind, wanted) - 1), initial=0.0)) for kind in kinds if len(kind) == len(wanted)
    ]
    return min(distances, default=float("inf"))
