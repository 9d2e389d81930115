"""Which type each tensor of a quantised model gets: llama.cpp's mixes, as data.

What must stay true: a file of ours and one by `llama-quantize` agree in the type of every tensor. The rule is that of
llama.cpp's src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type_impl, tensor_type_fallback), for the
dense families that we write and without an importance matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from twinctl.errors import ConfigError

_T = GGMLQuantizationType


@dataclass(frozen=True)
class ModelTraits:
    """What a mix asks of a model: layers, whether the head is the embedding, and whether llama.cpp takes it for a 70B
    (80 layers of grouped queries: values are so few that more bits for them cost nothing).
    """

    layers: int
    tied: bool
    is_70b: bool = False


# (layer, layers) -> the type of that layer's tensor
Rule = Callable[[int, int], GGMLQuantizationType]


@dataclass(frozen=True)
class QuantType:
    """A way to store a whole model: the type of its matrices, what `general.file_type` says, and the tensors of a layer
    that are stored otherwise, by GGUF's names.
    """

    matrices: GGMLQuantizationType
    file_type: LlamaFileType
    otherwise: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def is_quantised(self) -> bool:
        """Whether numbers are stored in blocks, not one by one."""
        return bool(GGML_QUANT_SIZES[self.matrices][0] > 1)

    def type_of(self, name: str, shape: tuple[int, ...], model: ModelTraits) -> GGMLQuantizationType:
        """The type of the tensor with this GGUF name and shape: vectors (norms, biases) are float32, whatever the
        quant; where no blocks of 256 fill a row, a matrix gets what stands in, and where none of 32 do, F16.
        """
        if len(shape) < 2:
            return _T.F32
        wanted = self._wanted(name, shape[-1], model) if self.is_quantised else self.matrices
        for candidate in (wanted, _FALLBACKS.get(wanted, wanted)):
            if shape[-1] % GGML_QUANT_SIZES[candidate][0] == 0:
                return candidate
        return _T.F16

    def _wanted(self, name: str, columns: int, model: ModelTraits) -> GGMLQuantizationType:
        if name == ("token_embd.weight" if model.tied else "output.weight"):
            # The matrix that makes the logits is worth more bits.
            fits = columns % GGML_QUANT_SIZES[self.matrices][0] == 0
            return _T.Q6_K if fits and self.matrices != _T.Q8_0 else _T.Q8_0
        _, layer, part = name.split(".")[:3] if name.startswith("blk.") else ("", "", "")
        rule = self.otherwise.get(part)
        kind = rule(int(layer), model.layers) if rule else self.matrices
        return _T.Q5_K if model.is_70b and part == "attn_v" and kind in (_T.Q3_K, _T.Q4_K) else kind


_FALLBACKS: Mapping[GGMLQuantizationType, GGMLQuantizationType] = {
    _T.Q3_K: _T.Q4_0,
    _T.Q4_K: _T.Q5_0,
    _T.Q5_K: _T.Q5_1,
    _T.Q6_K: _T.Q8_0,
}


def _medium(kind: GGMLQuantizationType) -> Mapping[str, Rule]:
    """Q6_K in the first eighth of the layers, in the last, and in every third between; `kind` in the others."""

    def rule(layer: int, layers: int) -> GGMLQuantizationType:
        eighth = layers // 8
        chosen = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
        return _T.Q6_K if chosen else kind

    return {"attn_v": rule, "ffn_down": rule}


QUANTS: Mapping[str, QuantType] = {
    "f32": QuantType(_T.F32, LlamaFileType.ALL_F32),
    "f16": QuantType(_T.F16, LlamaFileType.MOSTLY_F16),
    "bf16": QuantType(_T.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": QuantType(_T.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q6_k": QuantType(_T.Q6_K, LlamaFileType.MOSTLY_Q6_K),
    "q5_k_m": QuantType(_T.Q5_K, LlamaFileType.MOSTLY_Q5_K_M, _medium(_T.Q5_K)),
    "q4_k_m": QuantType(_T.Q4_K, LlamaFileType.MOSTLY_Q4_K_M, _medium(_T.Q4_K)),
    "q3_k_m": QuantType(
        _T.Q3_K,
        LlamaFileType.MOSTLY_Q3_K_M,
        {
            "attn_v": lambda layer, layers: _T.Q5_K if layer < 2 else _T.Q4_K,
            "ffn_down": lambda layer, layers: _T.Q5_K if layer < layers // 16 else _T.Q4_K,
            "attn_output": lambda layer, layers: _T.Q4_K,
        },
    ),
}


def find_quant(name: str) -> QuantType:
    """The quant of that name. Raises ConfigError for one that is not in `QUANTS`."""
    if name not in QUANTS:
        raise ConfigError(f"no quant is called {name!r}", f"known: {', '.join(QUANTS)}")
    return QUANTS[name]
