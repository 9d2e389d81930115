"""Where rows come from: a JSONL file, a split on the Hub, or the bundled author.

What must stay true: a source enters the identity by its content (a file's sha256, a Hub commit and split), never by
its path; a path that exists wins over a Hub id, and `./` or `hf:` force one or the other.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from twinctl.errors import ConfigError
from twinctl.workspace.memo import DigestMemo

HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?::(?P<split>.+))?")
# What ends like this is a file that is missing, not a Hub data set.
FILE_SUFFIXES = (".jsonl", ".json", ".txt", ".csv", ".md", ".parquet")
BUNDLED = "bundled:author"
Role = Literal["author", "general"]


@dataclass(frozen=True)
class Source:
    """One source. `path` for a file of the user's; `repo`, `split` and, once resolved, `sha` for the Hub."""

    role: Role
    locator: str
    path: str | None = None
    repo: str | None = None
    split: str = "train"
    sha: str | None = None
    digest: str | None = None

    @property
    def file(self) -> Path | None:
        """Its file, if it is one; the bundled one lies wherever this twinctl is installed, so no run pins its path."""
        if self.locator == BUNDLED:
            from twinctl.demo import AUTHOR_ROWS

            return AUTHOR_ROWS
        return Path(self.path) if self.path else None

    @property
    def identity(self) -> dict[str, Any]:
        """What is hashed of it."""
        if self.file:
            return {"role": self.role, "content": self.digest}
        return {"role": self.role, "repo": self.repo, "sha": self.sha, "split": self.split}

    def stored(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def parse_source(locator: str, role: Role) -> Source:
    """What a locator means. Raises ConfigError when it is neither a file nor a Hub id."""
    if locator == BUNDLED:
        return Source(role, locator)
    path = Path(locator).expanduser()
    if not locator.startswith("hf:") and path.is_file():
        return Source(role, locator, path=str(path.resolve()))
    if path.is_dir() and not locator.startswith("hf:"):
        raise ConfigError(f"{locator} is a folder", f"name the JSONL files in it: -d {locator.rstrip('/')}/rows.jsonl")
    match = HUB_ID.fullmatch(locator.removeprefix("hf:"))
    looks_like_file = locator.startswith((".", "/", "~")) or Path(locator).suffix in FILE_SUFFIXES
    if match is None or (looks_like_file and not locator.startswith("hf:")):
        raise ConfigError(
            f"there is no file {locator}", _nearby(path) or "give a JSONL file or a Hub data set: OWNER/NAME:train"
        )
    return Source(role, locator, repo=match["repo"], split=match["split"] or "train")


def resolve_source(source: Source, memo: DigestMemo, pinned: list[dict[str, Any]], *, refresh: bool) -> Source:
    """The source with its digest or commit. A commit that the run has pinned is kept unless `refresh`."""
    if source.file:
        return replace(source, digest=memo.sha256(source.file))
    for pin in pinned:
        if not refresh and pin.get("repo") == source.repo and pin.get("sha"):
            return replace(source, sha=pin["sha"])
    from twinctl.hub import resolve_dataset

    assert source.repo
    return replace(source, sha=resolve_dataset(source.repo, None))


def read_rows(source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its place ("posts.jsonl:7"), one at a time.

    Raises ConfigError naming file and line where a line is not a JSON object.
    """
    if source.file:
        yield from _read_jsonl(source.file)
        return
    from twinctl.hub import dataset_rows

    assert source.repo and source.sha
    for number, row in enumerate(dataset_rows(source.repo, source.sha, source.split), 1):
        yield f"{source.locator} row {number}", row


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            data = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not data.strip():
                continue
            try:
                row = json.loads(data.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise ConfigError(f"{path}:{number} is not UTF-8: {error.reason}", "save the file as UTF-8") from error
            except ValueError as error:
                hint = "the file must be JSON Lines: one JSON object a line"
                raise ConfigError(f"{path}:{number} is not JSON: {error}", hint) from error
            if not isinstance(row, dict):
                raise ConfigError(
                    f"{path}:{number} is not a JSON object", 'a row looks like {"instruction": …, "output": …}'
                )
            yield f"{path.name}:{number}", row


def _nearby(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path()
    near = get_close_matches(path.name, [item.name for item in folder.iterdir()], n=1)
    return f"did you mean {folder / near[0]}?" if near else ""
