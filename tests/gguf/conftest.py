"""Tiny models in Hugging Face folders, and llama.cpp to run what was written from them.

The models are random, with weights large enough that attention is peaked: then a rotary embedding that is a little
wrong moves the distributions, which near-uniform attention would hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.gguf_models import LLAMA3_ROPE, POSITIONS, ROWS, Llama, build_tokenizer
from tests.support.tokenizers import BOS, EOS, PAD


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[..., Any]:
    """Trains a byte-level BPE tokenizer, Llama 3's in structure, saves it into a folder, and gives it back."""

    def save(folder: Path, **structure: Any) -> Any:
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=build_tokenizer(**structure),
            bos_token=BOS,
            eos_token=EOS,
            pad_token=PAD,
            chat_template="{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}",
        )
        tokenizer.save_pretrained(folder)
        return tokenizer

    return save


@pytest.fixture(scope="session")
def save_model(save_tokenizer: Callable[..., Any]) -> Callable[..., Any]:
    """Saves a random two-layer model and a tokenizer into a folder; gives the model back, in float32."""

    def save(folder: Path, family: str = "Llama", shard: str = "1GB", **settings: Any) -> Any:
        import torch
        import transformers

        sizes = {
            "vocab_size": ROWS,
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "initializer_range": 0.05,
            "tie_word_embeddings": False,
        }
        torch.manual_seed(0)
        kind = getattr(transformers, f"{family}TextConfig", None) or getattr(transformers, f"{family}Config")
        config = kind(**{**sizes, **settings})
        model = getattr(transformers, f"{family}ForCausalLM")(config).to(torch.bfloat16).eval()
        with torch.no_grad():
            for weight in model.parameters():  # norms and biases start as ones and zeros: hide nothing
                if weight.ndim == 1:
                    weight.add_(torch.randn_like(weight) * 0.2)
        model.save_pretrained(folder, max_shard_size=shard)
        save_tokenizer(folder)
        # Loaded anew: to(bfloat16) rounded this one's rotary frequencies too, and float() would keep that.
        return type(model).from_pretrained(folder, dtype=torch.float32).eval()

    return save


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory, save_model: Callable[..., Any]) -> tuple[Path, Any]:
    """A Llama with GQA, untied embeddings and llama3 rope scaling, in several shards; the folder, and the model."""
    folder = tmp_path_factory.mktemp("llama")
    return folder, save_model(folder, rope_parameters=LLAMA3_ROPE, shard="1MB")


@pytest.fixture
def run_gguf() -> Iterator[type[Llama]]:
    yield Llama


@pytest.fixture(scope="session")
def divergence() -> Callable[[Any, Llama], float]:
    """The largest KL(transformers in float32 ‖ llama.cpp) over teacher-forced positions of one long text."""

    def measure(model: Any, llama: Llama) -> float:
        import torch

        ids = np.random.default_rng(0).integers(0, 290, max(POSITIONS)).tolist()
        with torch.no_grad():
            wanted = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()
        found = [llama.log_probs(ids[:length]) for length in POSITIONS]
        pairs = ((wanted[length - 1], q) for length, q in zip(POSITIONS, found, strict=True))
        return max(float((np.exp(p) * (p - q)).sum()) for p, q in pairs)

    return measure
