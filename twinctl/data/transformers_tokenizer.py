"""A tokenizer as transformers and Unsloth load it. `python -m twinctl.data.transformers_tokenizer FOLDER` prints it.

transformers 5 builds many tokenizers (Llama 2's, Qwen's, Gemma's, GPT-2's) anew from vocabulary and merges, with its
own idea of how they split a text; on a GPU, Unsloth mends those that would lose the spaces. What must stay true: this
gives what Unsloth trains with on a GPU. It runs in a process of its own because it hides PyTorch, with which
transformers takes five times as long to import.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PLAIN = "Hello world, this is a test."


def loaded(folder: Path) -> dict[str, Any]:
    """{"tokenizer": as in tokenizer.json, "named": {"eos_token": …}}. Raises what transformers raises."""
    from transformers import AutoTokenizer

    # As Unsloth asks for it: a `legacy` tokenizer puts a space before every piece of text, and not the first alone.
    tokenizer = AutoTokenizer.from_pretrained(folder, legacy=False, trust_remote_code=False)
    backend = tokenizer.backend_tokenizer
    _mend(backend, folder, type(tokenizer).__name__)
    return {"tokenizer": backend.to_str(), "named": tokenizer.special_tokens_map}


def _mend(backend: Any, folder: Path, kind: str) -> None:
    """As Unsloth's _repair_tokenizer_backend_from_json: the file's parts, where the class's do not give a text back."""
    from tokenizers import Tokenizer

    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    is_wrong = kind == "CohereTokenizer" or not _gives_back(backend)
    if is_wrong and _gives_back(stored) and backend.get_vocab(False) == stored.get_vocab(False):
        backend.model, backend.normalizer = stored.model, stored.normalizer
        backend.pre_tokenizer, backend.decoder = stored.pre_tokenizer, stored.decoder


def _gives_back(backend: Any) -> bool:
    ids = backend.encode(PLAIN, add_special_tokens=False).ids
    return backend.decode(ids, skip_special_tokens=False) in (PLAIN, f" {PLAIN}")


if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment]
    json.dump(loaded(Path(sys.argv[1])), sys.stdout)
