"""A tokenizer that pads with EOS, or not at all, gets a spare special token to pad with."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, models

from twinctl.engine.models import ensure_pad_token


def _tokenizer(*special: str, **named: str) -> object:
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    backend.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


LLAMA = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|finetune_right_pad_id|>",
    "<|eot_id|>",
)
NAMED = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}


@pytest.mark.parametrize("pad", [{}, {"pad_token": "<|end_of_text|>"}])
def test_llamas_own_pad_is_found(pad: dict[str, str]) -> None:
    tokenizer = _tokenizer(*LLAMA, **NAMED, **pad)
    ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"  # type: ignore[attr-defined]


def test_a_reserved_token_serves_where_none_is_named_pad() -> None:
    tokenizer = _tokenizer(*LLAMA[:3], LLAMA[4], **NAMED)
    ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<|reserved_special_token_0|>"  # type: ignore[attr-defined]


def test_a_pad_of_its_own_is_left_alone() -> None:
    tokenizer = _tokenizer(*LLAMA, **NAMED, pad_token="<|eot_id|>")
    ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == "<|eot_id|>"  # type: ignore[attr-defined]


def test_without_a_spare_token_nothing_is_invented() -> None:
    tokenizer = _tokenizer(*LLAMA[:2], **NAMED)
    size = len(tokenizer)  # type: ignore[arg-type]
    ensure_pad_token(tokenizer)
    assert len(tokenizer) == size  # type: ignore[arg-type]
