"""What a `prepare` left: its samples, decoded from the stored ids."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, TRAIN, read_tokens

Prepare = Callable[..., "Prepared"]


@dataclass(frozen=True)
class Seen:
    """One sample: where it is from, its whole text, and the texts of the token spans that are learnt."""

    split: str
    source: str
    place: str
    role: str
    prompt: str
    ids: list[int]
    text: str
    learnt: list[str]

    @property
    def document(self) -> str:
        """The place without the number of the passage or part."""
        return re.sub(r"[#/]\d+$", "", self.place)


@dataclass(frozen=True)
class Prepared:
    """The document of `prepare --json` and the samples."""

    document: dict[str, Any]
    samples: list[Seen]

    @property
    def metrics(self) -> dict[str, Any]:
        """Those of the record."""
        metrics: dict[str, Any] = self.document["metrics"]
        return metrics

    @property
    def texts(self) -> list[str]:
        """All samples' texts."""
        return [sample.text for sample in self.samples]

    def side(self, split: str) -> list[Seen]:
        """One split's samples."""
        return [sample for sample in self.samples if sample.split == split]

    def adds_up(self) -> bool:
        """Whether every row that was read is kept or dropped, in all and by source. Only for rows of conversations."""
        sources = self.metrics["sources"]
        complete = [source["read"] == source["samples"] + sum(source["dropped"].values()) for source in sources]
        kept = self.metrics["rows_kept"] == len(self.samples) == sum(source["samples"] for source in sources)
        return all(complete) and kept


def load(document: dict[str, Any], model: Path) -> Prepared:
    """Read back what a command made."""
    tokenizer, samples = TextTokenizer.load(model), []
    for split in (TRAIN, EVAL):
        for row in read_tokens(Path(document["path"]), split).to_pylist():
            ids, spans = row.pop("input_ids"), row.pop("trained")
            parts = [ids[start:end] for start, end in zip(spans[::2], spans[1::2], strict=True)]
            text, *learnt = tokenizer.decode([ids, *parts])
            samples.append(Seen(split=split, ids=ids, text=text, learnt=learnt, **row))
    return Prepared(document, samples)
