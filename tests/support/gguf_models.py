"""Tiny models' tokenizers, and llama.cpp to run what was written from the models."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.tokenizers import BOS, EOS, PAD, byte_level, puts_first

ROWS = 640  # of the embeddings: more than there are tokens, as in many real models
CORPUS = (
    "The quick brown fox isn't lazy; it's 1234567 years old, they'll say. Ünïcödé, naïve café, 東京 and Москва. "
    "def main(args):\n    return [x ** 2 for x in range(100)]\n\n\tI've seen we'd have been there\r\n   three spaces"
)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def build_tokenizer(**structure: Any) -> Any:
    """A tokenizer with a token that is not special, besides the special ones."""
    from tokenizers import AddedToken

    tokenizer = byte_level([CORPUS] * 8, 590, [BOS, EOS, PAD], **structure)
    tokenizer.add_tokens([AddedToken("<note>", normalized=False)])
    tokenizer.post_processor = puts_first(tokenizer, BOS)
    return tokenizer


class Llama:
    """A GGUF file run by llama.cpp."""

    def __init__(self, path: Path) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 512
        params.n_parallel = 1
        params.cpuparams.n_threads = 2
        params.warmup = False
        params.verbosity = -1
        # Its float16 cache and flash attention would blur by 1e-5 what is exact to 1e-11 without them.
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(params)
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(self, route: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.server.listening_address + route, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with self.opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def tokenize(self, text: str) -> list[int]:
        return list(self.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"])

    def log_probs(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """The next token's log-probabilities after `ids`, normalised again (the server's need not sum to one)."""
        # The bias makes it pick token 0, for where it picks an end token it tells no probabilities; these are
        # of the raw logits, before any bias.
        body = {"prompt": list(ids), "n_predict": 1, "n_probs": ROWS, "logit_bias": [[0, 1000.0]]}
        top = self.post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        log_probs = np.full(ROWS, -np.inf)
        log_probs[[entry["id"] for entry in top]] = [entry["logprob"] for entry in top]
        return np.asarray(log_probs - np.log(np.exp(log_probs).sum()))


POSITIONS = (1, 2, 7, 33, 64, 65, 90, 150, 260, 400)  # lengths of prefixes; most go beyond the original 64
