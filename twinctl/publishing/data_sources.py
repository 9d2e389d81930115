"""The sources of the data, as a card may name them.

What must stay true: a data set on the Hub is named, with the commit that was read; of local files only kind and count
are named, since names of files and folders are names of people and of their affairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinctl.data.source import BUNDLED
from twinctl.publishing.licences import UNKNOWN, Licence, card_data, licence_of
from twinctl.publishing.markdown import code, plain, table
from twinctl.workspace.artifact import Record

WHOSE = {"author": "the author's", "general": "general"}


@dataclass(frozen=True)
class PublishedSource:
    """One source: on the Hub with `repo`, else local files of these formats."""

    role: str
    counts: Mapping[str, Any]
    repo: str | None = None
    split: str | None = None
    sha: str | None = None
    formats: Sequence[str] = ()
    is_bundled: bool = False
    licence: Licence = UNKNOWN
    languages: Sequence[str] = ()

    @property
    def held_out(self) -> int:
        """Rows that were kept out of training."""
        return int(self.counts.get("eval", 0))

    @property
    def title(self) -> str:
        """As Markdown."""
        if self.repo:
            link = f"[{plain(self.repo)}](https://huggingface.co/datasets/{self.repo})"
            at = f" at {code(self.sha[:12])}" if self.sha else ""
            return f"{link}, split {code(self.split or 'train')}{at}"
        if self.is_bundled:
            return "twinctl's bundled rows of an invented author"
        kinds = ", ".join(f"{count} × .{plain(name)}" for name, count in sorted(Counter(self.formats).items()))
        return f"local files ({kinds or 'not published'})"


def data_sources(tokens: Record) -> list[PublishedSource]:
    """Those that rows were read from. Asks the Hub for the licences of what is there."""
    counted = tokens.metrics.get("sources", ())
    asked = sorted(tokens.inputs.get("sources", ()), key=lambda source: source.get("role") == "general")  # as read
    identities = asked if len(asked) == len(counted) else [{}] * len(counted)
    pairs = zip(counted, identities, strict=True)
    return [_source(counts, identity) for counts, identity in pairs if counts.get("read", 1)]


def _source(counts: Mapping[str, Any], identity: Mapping[str, Any]) -> PublishedSource:
    role, repo, sha = str(counts.get("role", "author")), identity.get("repo"), identity.get("sha")
    if repo:
        data = card_data("dataset", repo, sha)
        stated = data.get("language")
        texts = stated if isinstance(stated, list) else [stated]
        languages = [text for text in texts if isinstance(text, str) and text]
        licence = licence_of(data, "")
        return PublishedSource(role, counts, repo, identity.get("split"), sha, licence=licence, languages=languages)
    if counts.get("name") == BUNDLED:
        return PublishedSource(role, counts, is_bundled=True, licence=Licence("apache-2.0"), languages=("en",))
    formats = [str(file[1]) for file in identity.get("files", ()) if len(file) > 1]
    return PublishedSource(role, counts, formats=formats)


def sources_table(sources: Sequence[PublishedSource]) -> str:
    """All sources with their licences and counts."""
    header = ["source", "licence", "whose", "rows read", "samples trained on", "held out", "tokens", "dropped"]
    rows = []
    for source in sources:
        licence = source.licence.shown if source.repo or source.is_bundled else "the author's own; not published"
        if not source.repo and source.role == "general":
            licence = "not stated"
        dropped = sum(dict(source.counts.get("dropped", {})).values())
        numbers = [*(source.counts.get(name) for name in ("read", "train", "eval", "tokens")), dropped]
        cells = [f"{number:,}" if isinstance(number, int) else "–" for number in numbers]
        rows.append([source.title, plain(licence), WHOSE.get(source.role, plain(source.role)), *cells])
    return table(header, rows)
