"""A base model's tokenizer, through the `tokenizers` library alone: loading it takes milliseconds.

What must stay true: the ids are those of the tokenizer that transformers loads from the same folder, and EOS is the
model's real stop token, different from the padding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.errors import ConfigError, UpstreamError


@dataclass(frozen=True)
class TextTokenizer:
    """Text to ids. `vocabulary` is the number of ids that the model's embedding has."""

    backend: Any
    eos: str
    eos_id: int
    bos: str
    adds_bos: bool
    vocabulary: int

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """From a model's folder. Raises ConfigError when it has no tokenizer.json or no EOS."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.exists():
            raise ConfigError(
                f"{folder} has no tokenizer.json", "choose a model with a fast tokenizer: --model ID_OR_PATH"
            )
        try:
            backend = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no narrower one
            raise UpstreamError(f"{path} is damaged: {error}", "download the model again") from error
        config = _json(folder / "tokenizer_config.json")
        model = _json(folder / "config.json")
        eos = _token_text(config.get("eos_token")) or _by_id(backend, model.get("eos_token_id"))
        eos_id = backend.token_to_id(eos) if eos else None
        if eos_id is None:
            raise ConfigError(
                f"the tokenizer in {folder} names no EOS token", "set eos_token in its tokenizer_config.json"
            )
        bos = _token_text(config.get("bos_token"))
        first = backend.encode("a").ids[:1]
        adds_bos = bool(bos) and first == [backend.token_to_id(bos)]
        backend.no_padding()
        backend.no_truncation()
        vocabulary = int(model.get("vocab_size") or backend.get_vocab_size())
        return cls(backend, eos, eos_id, bos if adds_bos else "", adds_bos, vocabulary)

    def encode(self, texts: list[str]) -> list[Any]:
        """Encodings with `ids` and character `offsets`; nothing is added: the template writes BOS and EOS."""
        return list(self.backend.encode_batch(texts, add_special_tokens=False))


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UpstreamError(f"{path} is damaged: {error}", "download the model again") from error
    return value if isinstance(value, dict) else {}


def _token_text(value: Any) -> str:
    """tokenizer_config.json has a token as a text or as {"content": text}."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _by_id(backend: Any, value: Any) -> str:
    identifier = value[0] if isinstance(value, list) and value else value
    return str(backend.id_to_token(identifier) or "") if isinstance(identifier, int) else ""
