"""Each family, with the tokenizer's structure that its own models have: the same ids there, the same distributions.

The tokenizers are as training leaves them beside the merged model: loaded by transformers and saved again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.families import FAMILIES, NASTY, save_tokenizer
from twinctl.gguf.vocabulary import read_vocabulary
from twinctl.gguf.writer import write_gguf

ROWS = 640
GEMMA3 = {
    "num_hidden_layers": 7,  # the sixth sees everything
    "head_dim": 64,
    "query_pre_attn_scalar": 64,
    "sliding_window": 48,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 30_000.0},
    },
}
# tokenizer -> (the model's class, its settings, GGUF's names for the tokenizer)
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama3": ("Llama", {}, "llama-bpe"),
    "smollm": ("Llama", {"tie_word_embeddings": True}, "gpt-2"),
    "llama2": ("Llama", {"num_key_value_heads": 8}, "default"),
    "mistral": ("Mistral", {"sliding_window": None}, "default"),
    "mistral3": ("Mistral", {"sliding_window": None}, "default"),
    "nemo": ("Mistral", {"sliding_window": None, "head_dim": 64}, "tekken"),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}, "qwen2"),
    "qwen3": ("Qwen3", {"head_dim": 64}, "qwen2"),
    "gemma3": ("Gemma3", GEMMA3, "default"),
}


def dressed(family: str, folder: Path) -> Any:
    """The tokenizer as it lies beside a merged model, instead of what is there."""
    from transformers import AutoTokenizer

    for path in (*folder.glob("*token*"), *folder.glob("*.jinja")):
        path.unlink()
    tokenizer = AutoTokenizer.from_pretrained(save_tokenizer(family, folder.parent / family), legacy=False)
    tokenizer.chat_template = None  # that of the tests for Llama 3 asks for `tools`, which a server need not have
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("name", MODELS)
def test_a_family(name: str, tmp_path: Path, save_model: Callable[..., Any], run_gguf: Any, divergence: Any) -> None:
    family, settings, pre = MODELS[name]
    model = save_model(tmp_path / "hf", family=family, **settings)
    tokenizer = dressed(name, tmp_path / "hf")
    vocabulary = read_vocabulary(tmp_path / "hf", ROWS)
    assert vocabulary.splitting.pre == pre
    first = str(FAMILIES[name].bos) if vocabulary.add_bos else ""  # written out, as training writes it
    written = write_gguf(tmp_path / "hf", tmp_path / "m.gguf", "f32", name="tiny")
    assert bool(written.unlike) == (pre in ("qwen2", "tekken"))
    llama = run_gguf(written.path)
    assert divergence(model, llama) < (1e-6 if name == "gemma3" else 1e-9)  # llama.cpp's GELU is a table of float16
    specials = "".join(token.content for token in tokenizer.added_tokens_decoder.values())
    runs = " ".join("." + " " * length for length in range(14))
    for text in (*NASTY, runs, specials, f"before{FAMILIES[name].eos}after {FAMILIES[name].eos}  spaced"):
        if name == "gemma3" and "▁▁" in text.replace(specials, ""):
            continue  # what is typed so is another token there; as spaces it is the same, and printed as spaces
        probe = unicodedata.normalize("NFC", text) if pre == "qwen2" else text  # llama.cpp leaves NFC to the caller
        wanted = tokenizer(first + probe, add_special_tokens=False)["input_ids"]
        assert llama.tokenize(probe) == wanted, repr(probe)
        if text in NASTY and "▁" not in text:
            assert llama.post("/detokenize", {"tokens": wanted})["content"].endswith(probe.lstrip(" "))
