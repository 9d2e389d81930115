"""A GGUF file is sampled from as transformers samples from a model: the same tokens are left, with the same chances."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twinctl.config.sampling import Sampling
from twinctl.engine.generation import _generate_arguments
from twinctl.gguf import chat_model
from twinctl.gguf.chat_model import chosen

SEEN = [3, 5, 5, 8, 40]


class Draw:
    """A random generator that keeps what it was to draw from."""

    chances: dict[int, float]

    def choice(self, order: Any, p: Any) -> int:
        self.chances = {int(token): float(chance) for token, chance in zip(order, p, strict=True) if chance > 0}
        return int(order[0])


def by_transformers(logits: Any, sampling: Sampling) -> dict[int, float]:
    torch = pytest.importorskip("torch")
    from transformers import GenerationConfig, GenerationMixin

    how = GenerationConfig(**_generate_arguments(sampling))
    model = GenerationMixin()
    model.config = SimpleNamespace(is_encoder_decoder=False)
    processors = model._get_logits_processor(how, input_ids_seq_length=len(SEEN), device="cpu")
    ids, scores = torch.tensor([SEEN]), torch.tensor(logits)[None]
    found = processors(ids, scores)[0].double().softmax(-1).tolist()
    return {token: chance for token, chance in enumerate(found) if chance > 0}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"temperature": 1.3, "top_p": 1.0, "min_p": 0.0},
        {"top_k": 7, "top_p": 0.8, "min_p": 0.0},
        {"top_k": 40, "top_p": 0.6, "min_p": 0.2, "repetition_penalty": 1.4},
        {"temperature": 0.2, "repetition_penalty": 0.8},
    ],
)
@pytest.mark.parametrize("few", [chat_model.FEW, 5])
def test_the_same_tokens_with_the_same_chances(how: dict[str, Any], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where those that are looked at first do not suffice."""
    monkeypatch.setattr(chat_model, "FEW", few)
    sampling = Sampling(**how)
    for seed in range(5):
        logits = np.random.default_rng(seed).normal(0, 3, 60).astype(np.float32)
        draw = Draw()
        chosen(logits, SEEN, sampling, draw)  # type: ignore[arg-type]
        assert draw.chances == pytest.approx(by_transformers(logits, sampling), rel=1e-4)


def test_greedy_takes_the_likeliest_that_was_not_said_too_often() -> None:
    logits = np.zeros(60, np.float32)
    logits[[5, 7]] = 2.0, 1.9
    random = np.random.default_rng(0)
    assert chosen(logits, SEEN, Sampling(temperature=0), random) == 5
    assert chosen(logits, SEEN, Sampling(temperature=0, repetition_penalty=1.2), random) == 7
