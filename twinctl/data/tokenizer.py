"""A base model's tokenizer, through the `tokenizers` library alone: loading Llama 3's takes milliseconds.

What must stay true: the ids are those of the tokenizer that transformers and Unsloth load from the same folder, so
transformers is asked wherever they would change what its file says (see transformers_tokenizer); EOS is the model's
real stop token, and one of its embedding's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from twinctl.child_process import ChildDied, run_module
from twinctl.data.transformers_tokenizer import added_tokens, is_taken_as_stored, named_tokens
from twinctl.errors import ConfigError, UpstreamError
from twinctl.workspace.files import read_json

ANOTHER = "choose a model with a fast tokenizer: --model ID_OR_PATH"


@dataclass(frozen=True)
class TextTokenizer:
    """Text to ids. `vocabulary` is the number of ids that the model's embedding has.

    `bos` is empty where none is put before a text (`adds_bos`). `specials` are the special tokens' ids by their texts,
    `named` the texts by the names that chat templates have for them (eos_token, …).
    """

    backend: Any
    eos: str
    eos_id: int
    bos: str
    adds_bos: bool
    vocabulary: int
    pad_id: int | None = None
    specials: Mapping[str, int] = field(default_factory=dict, repr=False, hash=False)
    named: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """From a model's folder. Raises ConfigError when it has no tokenizer.json or no EOS that it knows, or when
        transformers cannot load it; UpstreamError for a damaged file.
        """
        model = _json(folder / "config.json")
        backend, named = _loaded(folder, model)
        backend.no_padding()
        backend.no_truncation()
        bos, eos, pad = named.get("bos_token", ""), named["eos_token"], named.get("pad_token")
        adds_bos = _adds_bos(backend, bos, model)
        return cls(
            backend,
            eos,
            backend.token_to_id(eos),
            bos if adds_bos else "",
            adds_bos,
            vocabulary=int(_of_text_model(model, "vocab_size") or backend.get_vocab_size()),
            pad_id=backend.token_to_id(pad) if pad else None,
            specials={token.content: place for place, token in added_tokens(backend).items() if token.special},
            named=named,
        )

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of all special tokens."""
        return frozenset(self.specials.values())

    @cached_property
    def is_lossless(self) -> bool:
        """Whether every text comes back from its ids, by the tokenizer's build: nothing is normalised, every byte has a
        token, no piece of text is removed, and the decoder only puts the bytes back. False where that cannot be told.
        """
        from tokenizers import decoders, models, pre_tokenizers

        model, split = self.backend.model, self.backend.pre_tokenizer
        return (
            self.backend.normalizer is None
            and isinstance(model, models.BPE)
            and not (model.dropout or model.continuing_subword_prefix or model.end_of_word_suffix)
            and isinstance(self.backend.decoder, decoders.ByteLevel)
            and split is not None
            and _keeps_bytes(json.loads(split.__getstate__()))
            and all(self.backend.token_to_id(byte) is not None for byte in pre_tokenizers.ByteLevel.alphabet())
            and all(_stands_as_written(token) for token in added_tokens(self.backend).values())
        )

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The texts' ids; nothing is added: the template writes BOS and EOS."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_offsets(self, texts: list[str]) -> list[Any]:
        """Encodings with the same `ids`, and where in the text each comes from: `offsets`, in characters."""
        return list(self.backend.encode_batch(texts, add_special_tokens=False))

    def decode(self, rows: list[list[int]]) -> list[str]:
        """The texts of ids, special tokens among them."""
        return list(self.backend.decode_batch(rows, skip_special_tokens=False))

    def length(self, text: str) -> int:
        """How many ids a text has."""
        return len(self.encode([text])[0])


def _keeps_bytes(split: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer turns each byte into its character, and before that only cuts."""
    *cuts, last = split.get("pretokenizers", [split])
    only_cuts = all(
        cut["type"] == "Digits" or (cut["type"], cut.get("behavior")) == ("Split", "Isolated") for cut in cuts
    )
    return only_cuts and last["type"] == "ByteLevel" and not last["add_prefix_space"]


def _stands_as_written(token: Any) -> bool:
    """Whether an added token takes no white space next to it and is decoded to what was typed."""
    return not (token.lstrip or token.rstrip) and all("!" <= letter <= "~" for letter in token.content)


def special_pattern(tokenizer: TextTokenizer) -> re.Pattern[str]:
    """What finds a special token's text, which would become that token wherever it stands; the longest comes first."""
    texts = sorted(tokenizer.specials, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


def _loaded(folder: Path, model: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """The backend, and the texts of the named special tokens, EOS among them, as transformers has them."""
    config, stored = _json(folder / "tokenizer_config.json"), _stored(folder)
    backend, named = stored, named_tokens(config)
    if not is_taken_as_stored(folder, config, model, stored):
        answer = _ask(folder)
        backend, named = type(stored).from_str(answer["tokenizer"]), answer["named"]
    eos = named.get("eos_token")
    if not eos:
        eos_id = _of_text_model(model, "eos_token_id")
        eos_id = eos_id[0] if isinstance(eos_id, list) and eos_id else eos_id
        eos = backend.id_to_token(eos_id) if isinstance(eos_id, int) else None
    if not eos or stored.token_to_id(eos) is None:  # transformers would add it, as a token that no model knows
        raise ConfigError(
            f"the tokenizer in {folder} names no EOS token of its own", "set eos_token in its tokenizer_config.json"
        )
    return backend, {**named, "eos_token": eos}


def _stored(folder: Path) -> Any:
    """tokenizer.json as it is."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise ConfigError(f"{folder} has no tokenizer.json", ANOTHER)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no narrower one
        raise UpstreamError(f"{path} is damaged: {error}", "download the model again") from error


def _ask(folder: Path) -> dict[str, Any]:
    """What transformers_tokenizer sends for the folder."""
    try:
        (answer,) = run_module("twinctl.data.transformers_tokenizer", str(folder))
    except ChildDied as died:
        why = died.reason or "it printed no reason"
        raise ConfigError(f"transformers cannot load the tokenizer in {folder}: {why}", ANOTHER) from died
    return answer


def _adds_bos(backend: Any, bos: str, model: Mapping[str, Any]) -> bool:
    """Whether BOS is put before a text."""
    if not bos:
        return False
    # Gemma 4's tokenizer leaves out the BOS that the model was trained with, and Unsloth puts it back.
    forgets = str(model.get("model_type")).startswith("gemma")
    return forgets or bool(backend.encode("a").ids[:1] == [backend.token_to_id(bos)])


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    value = read_json(path, "download the model again")
    return value if isinstance(value, dict) else {}


def _of_text_model(model: Mapping[str, Any], name: str) -> Any:
    """A setting of the model, or of its text half where it also sees."""
    return model.get(name, (model.get("text_config") or {}).get(name))
