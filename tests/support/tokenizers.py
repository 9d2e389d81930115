"""Tiny byte-level BPE tokenizers, Llama 3's in structure, as the tests' models need them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = WORDS + r"|\p{N}{1,3}" + REST


def byte_level(
    texts: Iterable[str],
    size: int,
    specials: Sequence[str],
    *,
    regex: str = LLAMA3,
    ignore_merges: bool = True,
    normalizer: Any = None,
) -> Any:
    """A tokenizer that is trained on the texts to a vocabulary of that size; the special tokens come on top."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), split])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def puts_first(tokenizer: Any, bos: str) -> Any:
    """The post-processor that puts a BOS before every text."""
    from tokenizers import processors

    ids = [(bos, tokenizer.token_to_id(bos))]
    return processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=ids)
