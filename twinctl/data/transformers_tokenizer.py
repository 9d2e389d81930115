"""How transformers and Unsloth load a tokenizer. `python -m twinctl.data.transformers_tokenizer FOLDER` prints it.

transformers 5 rebuilds many tokenizers (Llama 2's, Qwen's, Gemma's, GPT-2's) from vocabulary and merges, with its own
idea of how they split a text; on a GPU, Unsloth repairs those that would lose the spaces. What must stay true: this
gives what Unsloth trains with on a GPU. It runs in a process of its own because it hides PyTorch, with which
transformers takes five times as long to import.

All that is known here of their internals, and where it stands there:
- transformers 5.17.0, `models/auto/tokenization_auto.py` and `tokenization_utils_tokenizers.py`: the classes and models
  whose tokenizer.json is loaded as it is, and which tokens are added to it (`is_taken_as_stored`);
- unsloth 2026.10.9, `tokenizer_utils.py`: `_repair_one_tokenizer_backend` with its two texts and its class (`_repair`).
tests/unit/test_transformers_tokenizer.py fails when these change; tests/unit/test_tokenizer.py and
tests/engine/test_engine_tokenizers.py compare the ids with theirs for each family of models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinctl.child_process import report

QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}

# Other classes and models are rebuilt, or may be.
STORED_CLASSES, STORED_MODELS = (None, "PreTrainedTokenizerFast", "TokenizersBackend"), (None, "llama")
TOKEN_FLAGS = ("content", "special", "normalized", "lstrip", "rstrip", "single_word")
SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Unsloth repairs a tokenizer that does not give the first text back; of these classes, one whose ids of the second
# text are others than the file's.
ROUND_TRIP_PROBE = "Hello world, this is a test."
IDS_PROBE = "Hello world! def f(x): return x**2  # code\n你好 éè Αβγ 12345.678 नमस्ते दुनिया open(path):\n"
REBUILT_CLASSES = ("CohereTokenizer",)


def is_taken_as_stored(folder: Path, config: Mapping[str, Any], model: Mapping[str, Any], stored: Any) -> bool:
    """Whether transformers loads tokenizer.json (`stored`) without a change: a class that it does not rebuild, and no
    token that it would add. `config` is tokenizer_config.json, `model` is config.json.
    """
    is_rebuilt = config.get("tokenizer_class") not in STORED_CLASSES or model.get("model_type") not in STORED_MODELS
    if is_rebuilt or "auto_map" in config:
        return False
    if "added_tokens_decoder" not in config and (folder / "special_tokens_map.json").exists():
        return False  # then it has the last word on which tokens are special
    known = added_tokens(stored)
    listed = {int(token_id): entry for token_id, entry in config.get("added_tokens_decoder", {}).items()}
    same = all(
        token_id in known and all(getattr(known[token_id], flag) == entry.get(flag) for flag in TOKEN_FLAGS)
        for token_id, entry in listed.items()
    )
    more = [config.get(name) or () for name in ("additional_special_tokens", "extra_special_tokens")]
    lists = [entry.values() if isinstance(entry, dict) else entry for entry in more]
    named = {_token_text(token) for tokens in (named_tokens(config).values(), *lists) for token in tokens}
    return same and named <= {token.content for token in known.values() if token.special}


def added_tokens(backend: Any) -> dict[int, Any]:
    """The tokens beyond the vocabulary, by id."""
    return dict(backend.get_added_tokens_decoder())


def named_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the special tokens that tokenizer_config.json names, by name ("eos_token", …)."""
    return {name: text for name in SPECIAL_TOKEN_NAMES if (text := _token_text(config.get(name)))}


def _token_text(value: Any) -> str:
    """tokenizer_config.json has a token as a text or as {"content": text}."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def load(folder: Path) -> dict[str, Any]:
    """{"tokenizer": as in tokenizer.json, "named": {"eos_token": …}}. Raises what transformers raises."""
    from transformers import AutoTokenizer

    # As Unsloth asks for it: a `legacy` tokenizer puts a space before every piece of text, and not the first alone.
    tokenizer = AutoTokenizer.from_pretrained(folder, legacy=False, trust_remote_code=False)
    backend = tokenizer.backend_tokenizer
    _repair(backend, folder, type(tokenizer).__name__)
    return {"tokenizer": backend.to_str(), "named": tokenizer.special_tokens_map}


def _repair(backend: Any, folder: Path, class_name: str) -> None:
    """Take the file's parts where those of the class do not give a text back, as Unsloth does."""
    from tokenizers import Tokenizer

    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    is_wrong = not _gives_back(backend) or (
        class_name in REBUILT_CLASSES and _ids(backend, IDS_PROBE) != _ids(stored, IDS_PROBE)
    )
    if is_wrong and _gives_back(stored) and backend.get_vocab(False) == stored.get_vocab(False):
        backend.model, backend.normalizer = stored.model, stored.normalizer
        backend.pre_tokenizer, backend.decoder = stored.pre_tokenizer, stored.decoder


def _ids(backend: Any, text: str) -> list[int]:
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids


def _gives_back(backend: Any) -> bool:
    text = backend.decode(_ids(backend, ROUND_TRIP_PROBE), skip_special_tokens=False)
    return text in (ROUND_TRIP_PROBE, f" {ROUND_TRIP_PROBE}")


if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment]
    os.environ.update(QUIET)
    report(lambda send: send(load(Path(sys.argv[1]))))
