"""Short ways to prepare rows and look at what became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.prepared import Prepare, Prepared
from tests.support.stand_ins import write_rows

ALL_OF_IT = ["--eval-fraction", "0"]


def row_of(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "output": answer}


def talk(*texts: str, system: str | None = None) -> dict[str, Any]:
    """Question, answer, question, answer, …"""
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def prepared_from(prepares: Prepare, home: Path, values: list[Any], *words: str) -> Prepared:
    write_rows(home / "posts.jsonl", values)
    return prepares("-d", "posts.jsonl", *words)


def add_special(model: Path, *texts: str) -> None:
    """Give the stand-in's tokenizer more special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.add_special_tokens(list(texts))
    tokenizer.save(str(model / "tokenizer.json"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": tokenizer.get_vocab_size()}))
