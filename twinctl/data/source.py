"""Sources of rows: files, folders, globs, standard input, data sets on the Hub, and the bundled author.

What must stay true: a source enters the identity by its content (its files' digests and formats, or a Hub commit and
split), never by its path; a path that exists wins over a Hub id, and `./` or `hf:` force one or the other; a commit
that a run has pinned stays until it is refreshed.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from glob import has_magic
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinctl.data.file_io import LocatedRow, OnBadRow, require_unchanged
from twinctl.data.files import document_title, file_rows, format_of
from twinctl.data.locate import digest_of, find_files, nearby, spool_input
from twinctl.errors import ConfigError
from twinctl.workspace.memo import DigestMemo

if TYPE_CHECKING:
    from twinctl.config.prepare import DataSource

BUNDLED, INPUT, HUB = "bundled:author", "-", "hf:"
Role = Literal["author", "general"]


@dataclass(frozen=True)
class DataFile:
    """A file and its sha256. `path`: absolute, "" for the bundled one; `title`: a document's, by its name."""

    path: str
    digest: str
    title: str


@dataclass(frozen=True)
class Source:
    """One source: `files`, or a `repo` with `split` and `sha`. `name` is for people."""

    role: Role
    name: str
    locator: str
    files: tuple[DataFile, ...] = ()
    repo: str | None = None
    split: str | None = None
    revision: str | None = None
    sha: str | None = None
    limit: int | None = None
    weight: float = 1.0
    map: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What is hashed of it: the content, and what is asked of it besides the defaults."""
        content: dict[str, Any] = {"repo": self.repo, "sha": self.sha, "split": self.split}
        if not self.repo:
            # The format too: it may read the same bytes in another way.
            files = [[file.digest, format_of(path) or "json", file.title] for path, file in self.located()]
            content = {"files": files}
        asked = {"limit": self.limit, "weight": None if self.weight == 1 else self.weight, "map": list(self.map)}
        return {"role": self.role, **content, **{name: value for name, value in asked.items() if value}}

    def stored(self) -> dict[str, Any]:
        """As plain JSON values, for a run's pins and a worker's job."""
        return {**asdict(self), "files": [asdict(file) for file in self.files], "map": list(self.map)}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Source:
        """The source that was stored, also by a twinctl that did not know folders yet."""
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        older = [{"path": stored["path"], "digest": stored["digest"], "title": ""}] if stored.get("path") else []
        files = tuple(DataFile(**file) for file in stored.get("files", older))
        return cls(**{"name": stored["locator"], **known, "files": files, "map": tuple(stored.get("map", ()))})

    def local_files(self) -> Iterator[tuple[Path, str]]:
        """Its files' paths on this machine, and their digests."""
        return ((path, file.digest) for path, file in self.located())

    def located(self) -> Iterator[tuple[Path, DataFile]]:
        """Its files with their paths on this machine."""
        return ((Path(file.path) if file.path else _author_rows(), file) for file in self.files)

    def label(self, path: Path) -> str:
        """How messages and the rows' places call one of its files: its path below the folder or glob, or its name."""
        fixed = takewhile(lambda part: not has_magic(part), Path(os.path.expanduser(self.locator)).parts)
        base = Path(os.path.abspath(Path(*fixed)))
        below = str(path.relative_to(base)) if base in path.parents else path.name
        return self.name if self.locator == INPUT else below


def resolve_sources(
    wanted: Sequence[DataSource],
    role: Role,
    memo: DigestMemo,
    pinned: Sequence[Mapping[str, Any]],
    *,
    refresh: bool,
    spool: Path,
) -> list[Source]:
    """The sources, resolved to files with digests and to commits. Standard input is kept in `spool`. A data set keeps
    the commit that it has in `pinned` (sources as they are stored) unless `refresh`.

    Raises ConfigError for a locator that leads to nothing, or is given twice; HubError when the Hub refuses.
    """
    if [source.source for source in wanted].count(INPUT) > 1:
        raise ConfigError(f"{INPUT} is given twice", "standard input can be read once")
    return with_unique_names([_resolved(source, role, memo, [] if refresh else pinned, spool) for source in wanted])


def _resolved(
    wanted: DataSource, role: Role, memo: DigestMemo, pinned: Sequence[Mapping[str, Any]], spool: Path
) -> Source:
    locator = wanted.source
    if locator == BUNDLED:
        paths = [_author_rows()]
    elif locator == INPUT:
        paths = [spool_input(spool)]
    else:
        paths = find_files(locator) if locator and not locator.startswith(HUB) else []
    if not paths:
        source = _on_hub(wanted, role, pinned)
    elif wanted.split or wanted.revision:
        raise ConfigError(f"{locator} is not a data set on the Hub", "leave split and revision out")
    else:
        files = tuple(_file(locator, path, memo) for path in paths)
        name, path = locator, os.path.expanduser(locator)
        if locator == INPUT:
            name = "standard input"
        elif os.path.exists(path):
            name = os.path.basename(os.path.abspath(path))
        source = Source(role, name, locator, files)
    return replace(source, limit=wanted.limit, weight=wanted.weight, map=wanted.map)


def _author_rows() -> Path:
    """The bundled rows are wherever this twinctl is installed, so no run pins their path."""
    from twinctl.bundled import AUTHOR_ROWS

    return AUTHOR_ROWS


def _file(locator: str, path: Path, memo: DigestMemo) -> DataFile:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{str(path)!a} has a name that is not UTF-8", "rename it") from error
    title = "" if locator == INPUT else document_title(path)
    return DataFile("" if locator == BUNDLED else str(path), digest_of(path, memo), title)


def _on_hub(wanted: DataSource, role: Role, pinned: Sequence[Mapping[str, Any]]) -> Source:
    from twinctl.hub import resolve_dataset
    from twinctl.hub.names import is_repo_id

    locator = wanted.source
    repo, colon, named_split = locator.removeprefix(HUB).partition(":")
    # What begins like a path or ends like a file can only be a path.
    is_path = locator.startswith((".", "/", "~")) or (not locator.startswith(HUB) and format_of(Path(locator)))
    if is_path or not is_repo_id(repo) or bool(colon) != bool(named_split):
        what = "no file matches" if has_magic(locator) else "there is no file"
        hint = nearby(locator) or "give a file, a folder, or a Hub data set: OWNER/NAME:train"
        raise ConfigError(f"{what} {locator}", hint)
    if named_split and wanted.split not in (None, named_split):
        raise ConfigError(f"{locator} names a split, and split names another: {wanted.split}", "leave one of them out")
    split, revision = named_split or wanted.split or "train", wanted.revision
    commits = [pin.get("sha") for pin in pinned if (pin.get("repo"), pin.get("revision")) == (repo, revision)]
    sha = next(filter(None, commits), None) or resolve_dataset(repo, revision)
    return Source(role, repo, locator, repo=repo, split=split, revision=revision, sha=str(sha))


def with_unique_names(sources: Sequence[Source]) -> list[Source]:
    """The sources under names of which no two are the same. Raises ConfigError for one that is given twice."""
    locators: dict[object, str] = {}
    for source in sources:
        files = tuple(os.path.realpath(path) for path, _ in source.local_files())
        key = files or (source.repo, source.sha, source.split)
        if key in locators:
            first = f", first as {locators[key]}" if locators[key] != source.locator else ""
            raise ConfigError(f"{source.locator} is given twice{first}", "name it once; a weight of 2 repeats its rows")
        locators[key] = source.locator
    names = Counter(source.name for source in sources)
    return [replace(source, name=_long_name(source)) if names[source.name] > 1 else source for source in sources]


def _long_name(source: Source) -> str:
    if not source.repo:
        return source.locator
    return f"{source.repo}:{source.split}" + (f"@{source.revision}" if source.revision else "")


def source_changes(source: Source, memo: DigestMemo) -> list[str]:
    """How its files differ from what was resolved: "posts.jsonl changed", and what a folder or glob gained or lost.
    Files that are not on this machine at all count for nothing.
    """
    digests = dict(source.local_files())
    edited = [path for path, digest in digests.items() if path.exists() and memo.sha256(path) != digest]
    paths: set[Path] = set()
    if not source.repo and source.locator not in (BUNDLED, INPUT):
        with suppress(ConfigError):
            paths = set(find_files(source.locator))
    is_here = bool(paths & digests.keys())
    new, gone = (sorted(paths - digests.keys()), sorted(digests.keys() - paths)) if is_here else ([], [])
    changes = {"changed": edited, "is new": new, "is gone": gone}
    return [f"{source.label(path)} {what}" for what, paths_so in changes.items() for path in paths_so]


def read_rows(source: Source, *, bad: OnBadRow | None = None) -> Iterator[LocatedRow]:
    """Every row with its place ("posts.jsonl:7"), one at a time, up to the source's limit.

    Raises ConfigError for a file that cannot be read or is not what was resolved, and for a row that cannot be read,
    unless `bad` takes its place and error; HubError when the Hub refuses.
    """
    left = sys.maxsize if source.limit is None else source.limit
    if source.repo:
        from twinctl.hub import dataset_rows

        assert source.sha and source.split
        rows = dataset_rows(source.repo, source.sha, source.split)
        yield from ((f"{source.repo} row {number}", row) for number, row in enumerate(islice(rows, left), 1))
        return
    for path, file in source.located():
        label = source.label(path)
        with require_unchanged(path, file.digest, label):
            for row in islice(file_rows(path, label, bad, file.title), left):
                left -= 1
                yield row
        if not left:
            return
