"""What prepare read, kept, dropped and changed, by source and reason, with examples; and whether the result is sound.

What must stay true: every row that is read is counted once as kept, as dropped for a reason, or as a document cut into
samples; a sample that is not fit to train on is found here, named, and nothing is committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from twinctl.data.file_io import without_surrogates
from twinctl.data.tokens import EVAL, TRAIN, TokenizedSample, count_trained
from twinctl.errors import CheckFailed, ConfigError

EXAMPLES, NAMED, SHOWN = 10, 5, 2000


@dataclass
class SourceCounts:
    """The figures of one source. `samples` counts what is kept, by split; `cleaned` what was changed in it."""

    name: str
    role: str
    read: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    trained: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    cleaned: Counter[str] = field(default_factory=Counter)
    capped: bool = False

    def stored(self) -> dict[str, Any]:
        """As plain values."""
        counters = {name: dict(sorted(getattr(self, name).items())) for name in ("shapes", "dropped", "cleaned")}
        split = {TRAIN: self.samples[TRAIN], EVAL: self.samples[EVAL]}
        own = {name: getattr(self, name) for name in ("name", "role", "read", "tokens", "trained", "capped")}
        return {**own, "samples": self.samples.total(), **split, **counters}


@dataclass
class Report:
    """All counts. `problems`: per failed check how many samples, and the first of them."""

    sources: dict[str, SourceCounts] = field(default_factory=dict)
    examples: list[dict[str, str]] = field(default_factory=list)
    problems: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    longest: int = 0
    trained_in_train: int = 0

    def source(self, name: str, role: str) -> SourceCounts:
        """The source's figures."""
        return self.sources.setdefault(name, SourceCounts(name, role))

    def drop(self, counts: SourceCounts, place: str, reason: str, text: str) -> None:
        """Count a row that is left out, and keep the first few to look at."""
        counts.dropped[reason] += 1
        if counts.dropped[reason] <= EXAMPLES:
            shown = without_surrogates(text[:SHOWN])
            self.examples.append({"source": counts.name, "place": place, "reason": reason, "text": shown})

    def keep(self, split: str, sample: TokenizedSample, times: int) -> None:
        """Count a sample that is written so many times."""
        counts = self.sources[sample.source]
        length, trained = len(sample.ids), count_trained(sample.trained)
        counts.samples[split] += times
        counts.tokens += length * times
        counts.trained += trained * times
        self.longest = max(self.longest, length)
        self.trained_in_train += trained * times if split == TRAIN else 0

    def problem(self, what: str, place: str) -> None:
        """Record a sample that fails a check."""
        count, places = self.problems.get(what, (0, []))
        self.problems[what] = (count + 1, [*places, place] if len(places) < NAMED else places)

    def require_sound(self) -> None:
        """Raise CheckFailed naming the samples that failed a check, ConfigError when there is nothing to train on."""
        for what, (count, places) in self.problems.items():
            raise CheckFailed(
                f"{count} samples {what}: {', '.join(places)}{', …' if count > len(places) else ''}",
                "fix these rows, or choose another --template; nothing was committed",
            )
        if not self.total(TRAIN):
            held_out, dropped = self.total(EVAL), self.dropped()
            gone = [f"{count} {reason}" for reason, count in dropped.items()]
            facts = [f"{self.read} read"] + ([f"dropped: {', '.join(gone)}"] if gone else [])
            hint = "name others: twinctl prepare -d FILE_OR_FOLDER"
            if held_out:
                facts, hint = [*facts, f"held out: {held_out}"], "add rows, or hold out none: --eval-fraction 0"
            elif "over max length" in dropped:
                hint = "try a larger --max-length, or --overlong split"
            raise ConfigError(f"no rows are left to train on: {'; '.join(facts)}", hint)

    @property
    def read(self) -> int:
        """Rows read, documents included."""
        return sum(counts.read for counts in self.sources.values())

    def total(self, split: str) -> int:
        """Samples in a split."""
        return sum(counts.samples[split] for counts in self.sources.values())

    def dropped(self) -> dict[str, int]:
        """Rows left out, by reason, over all sources."""
        return _sum(counts.dropped for counts in self.sources.values())

    def by_role(self, name: str) -> dict[str, int]:
        """ "tokens" or "samples", by role."""
        by_role: Counter[str] = Counter()
        for counts in self.sources.values():
            value = getattr(counts, name)
            by_role[counts.role] += value.total() if isinstance(value, Counter) else value
        return dict(by_role)

    def metrics(self) -> dict[str, Any]:
        """The figures for the record."""
        sources = list(self.sources.values())
        return {
            "rows_read": self.read,
            "rows_kept": self.total(TRAIN) + self.total(EVAL),
            "rows_dropped": self.dropped(),
            "cleaned": _sum(counts.cleaned for counts in sources),
            "shapes": _sum(counts.shapes for counts in sources),
            "train_rows": self.total(TRAIN),
            "eval_rows": self.total(EVAL),
            "rows_by_role": self.by_role("samples"),
            "tokens": sum(counts.tokens for counts in sources),
            "tokens_by_role": self.by_role("tokens"),
            "trained_tokens": self.trained_in_train,
            "longest": self.longest,
            "sources": [counts.stored() for counts in sources],
        }


def _sum(counters: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return dict(sorted(total.items()))
