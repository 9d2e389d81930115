"""The model families that can be written, as data: what each tensor is called, its shape, and what must hold.

What must stay true: a variant of an architecture that llama.cpp would run differently is refused by what its config
says; a family is added with a test that compares its distributions with those of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twinctl.errors import ConfigError


@dataclass(frozen=True)
class Weight:
    """A tensor's GGUF name, the names of its sides (see `model.Hyperparameters.sides`), whose heads are interleaved,
    and what is added to each number.
    """

    name: str
    sides: tuple[str, ...]
    rotary: str = ""
    plus: float = 0.0


@dataclass(frozen=True)
class Family:
    """An architecture: its GGUF name, the tensors of one layer by transformers' names, and settings that must hold.

    `unstated` is what transformers takes where a config.json does not say; `norms_plus` is added to every norm;
    `sees` is true where a model of text is inside one that sees images too: the text alone is written.
    """

    arch: str
    layer: Mapping[str, Weight]
    settings: Mapping[str, Any] = field(default_factory=dict)
    unstated: Mapping[str, Any] = field(default_factory=dict)
    norms_plus: float = 0.0
    sees: bool = False

    def of_text(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a config.json says of the model of text, with what it leaves unsaid."""
        stated = config.get("text_config") or {} if self.sees else config
        return {**self.unstated, **stated}


OUTSIDE: Mapping[str, Weight] = {
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

# Gemma norms what attention and feed-forward give, too, and what Llama calls the norm after attention is that one.
_FOUR_NORMS = {
    "post_attention_layernorm.weight": Weight("post_attention_norm.weight", ("hidden",)),
    "pre_feedforward_layernorm.weight": Weight("ffn_norm.weight", ("hidden",)),
    "post_feedforward_layernorm.weight": Weight("post_ffw_norm.weight", ("hidden",)),
}
_GEMMA3 = Family(
    "gemma3",
    {**_COMMON, **_HEAD_NORMS, **_FOUR_NORMS},
    {
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "use_bidirectional_attention": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
    # Gemma3TextConfig's; the first files on the Hub say no more than what differs from it.
    {
        "tie_word_embeddings": True,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "sliding_window": 4096,
        "rope_theta": 1_000_000.0,
    },
    norms_plus=1.0,  # transformers' Gemma3RMSNorm multiplies by 1 + weight, llama.cpp by weight
)

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family(
        "llama", {**_COMMON, **_INTERLEAVED}, {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    ),
    "MistralForCausalLM": Family(
        "llama", {**_COMMON, **_INTERLEAVED}, {"hidden_act": "silu"}, {"sliding_window": 4096}
    ),
    "Qwen2ForCausalLM": Family(
        "qwen2", {**_COMMON, **_QKV_BIASES}, {"hidden_act": "silu", "use_sliding_window": False}
    ),
    "Qwen3ForCausalLM": Family(
        "qwen3",
        {**_COMMON, **_HEAD_NORMS},
        {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False},
    ),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": replace(_GEMMA3, sees=True),
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
    stated = family.of_text(config)
    for setting, wanted in family.settings.items():
        value = stated.get(setting, wanted)
        if value != wanted:
            raise ConfigError(f"GGUF cannot be written for {name} with {setting} = {value!r}, only with {wanted!r}")
    return family
