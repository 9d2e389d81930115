"""One artifact: the folder in which a phase with one fingerprint works and leaves its result.

What must stay true: record.json is written last, so its presence is what "complete" means; out/ is built in work/,
flushed and renamed into place; work/ survives a crash and is gone after the commit; every path in a record is
relative.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from shlex import quote
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.workspace.files import append_line, read_json, read_lines, replace_atomically, write_json
from twinctl.workspace.lock import is_locked
from twinctl.workspace.memo import file_sha256, read_all


@dataclass(frozen=True)
class FileEntry:
    """One file of a result: its name, relative to the folder, and its content's size and digest."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> FileEntry:
        """From record.json; fields that a newer version added are passed over."""
        return cls(**{item.name: stored[item.name] for item in fields(cls) if item.name in stored})


@dataclass(frozen=True)
class Record:
    """What a finished phase did. `digest` is the result's identity, by which later phases know it."""

    phase: str
    slot: str
    version: int
    fingerprint: str
    produces: str
    recipe: Mapping[str, Any]
    origins: Mapping[str, str]
    inputs: Mapping[str, Any]
    parents: Mapping[str, str]
    digest: str
    metrics: Mapping[str, Any]
    warnings: list[str]
    files: list[FileEntry]
    created: float
    seconds: float
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Record:
        """From record.json; fields that a newer version added are passed over."""
        known = {item.name: stored[item.name] for item in fields(cls) if item.name in stored}
        if "files" in known:
            known["files"] = [FileEntry.of(file) for file in known["files"]]
        return cls(**known)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.bytes for file in self.files)

    def command_in(self, run: str) -> str:
        """What to type after `twinctl` to make this result again in a run."""
        return f"{self.about.get('command', self.phase)} --run {run}"


@dataclass(frozen=True)
class Failure:
    """What went wrong last: the error's class, its message and its hint, and when, in seconds since 1970."""

    code: str
    message: str
    hint: str
    time: float

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Failure:
        """From failure.json, whatever it lacks."""
        code, message, hint = (str(stored.get(name, "")) for name in ("class", "message", "hint"))
        return cls(code, message, hint, stored.get("time", 0.0))

    def stored(self) -> dict[str, Any]:
        """As it is in failure.json."""
        return {"class": self.code, "message": self.message, "hint": self.hint, "time": self.time}


@dataclass(frozen=True)
class Artifact:
    """The folder and what can be read off it."""

    path: Path

    @property
    def out(self) -> Path:
        """The finished result's folder."""
        return self.path / "out"

    @property
    def work(self) -> Path:
        """Checkpoints and partial files."""
        return self.path / "work"

    def record(self) -> Record | None:
        """The record if the artifact is complete. Raises UpstreamError when it is damaged."""
        path = self.path / "record.json"
        if (stored := _read(path)) is None:
            return None
        try:
            return Record.of(stored)
        except TypeError as error:
            raise UpstreamError(
                f"{path} lacks fields: {error}",
                f"move it away and run the phase again: mv {quote(str(path))} {quote(str(path))}.bad",
            ) from error

    def request(self) -> dict[str, Any] | None:
        """The payload that was hashed, written at the start."""
        return _read(self.path / "recipe.json")

    def failure(self) -> Failure | None:
        """The last failure, if the last attempt failed."""
        stored = _read(self.path / "failure.json")
        return None if stored is None else Failure.of(stored)

    def attempts(self) -> list[dict[str, Any]]:
        """Every start, oldest first."""
        return list(read_lines(self.path / "attempts.jsonl"))

    def events(self) -> Iterator[dict[str, Any]]:
        """Progress and metrics, in the order they happened; after a resume a step can stand twice, the later one
        counts.
        """
        return read_lines(self.path / "events.jsonl")

    def append_event(self, kind: str, **values: Any) -> None:
        """Append one event with the time."""
        append_line(self.path / "events.jsonl", {"time": time.time(), "event": kind, **values})

    def state(self) -> str:
        """complete, running, failed, partial or absent: derived from what is on disk, never stored."""
        if is_locked(self.path):
            return "running"
        if (self.path / "record.json").exists():
            return "complete"
        if (self.path / "failure.json").exists():
            return "failed"
        has_work = self.work.is_dir() and any(self.work.iterdir())
        return "partial" if has_work else "absent"

    def size(self) -> int:
        """Bytes on disk of everything in the folder."""
        return sum(entry.stat().st_size for entry in self.path.rglob("*") if entry.is_file())

    def fail(self, code: str, message: str, hint: str) -> None:
        """Keep what went wrong, for status and for viewers."""
        write_json(self.path / "failure.json", Failure(code, message, hint, time.time()).stored())

    def tidy(self) -> None:
        """Remove what a crash between the record and the end of the commit left. Hold the lock."""
        (self.path / "failure.json").unlink(missing_ok=True)
        if self.work.exists():
            shutil.rmtree(self.work)

    def commit(self, record: Record) -> None:
        """Make work/out, whose files the record lists, the artifact's result: flush, rename, then write the record."""
        built = self.work / "out"
        (self.path / "record.json").unlink(missing_ok=True)
        if self.out.exists():
            shutil.rmtree(self.out)
        replace_atomically(built, self.out)
        write_json(self.path / "record.json", asdict(record))
        self.tidy()

    def amend(self, file: Path, **metrics: Any) -> Record:
        """List a file that was added to out/ after the commit in the record, with what it measures. The result's digest
        stays: it is no part of what later phases build on. Hold the lock.
        """
        record = self.record()
        assert record is not None
        added = FileEntry(file.relative_to(self.out).as_posix(), file.stat().st_size, file_sha256(file))
        files = [*(entry for entry in record.files if entry.name != added.name), added]
        record = replace(
            record, metrics={**record.metrics, **metrics}, files=sorted(files, key=lambda entry: entry.name)
        )
        write_json(self.path / "record.json", asdict(record))
        return record

    def check(self, digest: Callable[[Path], str] | None, run: str) -> None:
        """Raise UpstreamError, naming the file, unless the files are those of the record.

        `digest`: None compares sizes only, a memo's `sha256` reads what has changed since it was read last, and
        `file_sha256` reads every byte. `run`: the run that the hint names.
        """
        record = self.record()
        if record is None:
            return
        hint = f"make it again: twinctl {record.command_in(run)} --restart"
        listed = {self.out / entry.name: entry for entry in record.files}
        for path, entry in listed.items():
            if not path.is_file():
                raise UpstreamError(f"{path} is missing", hint)
            if path.stat().st_size != entry.bytes:
                raise UpstreamError(f"{path} is not the file that was written", hint)
        for path, sha256 in zip(listed, read_all([*listed], digest), strict=True) if digest else ():
            if sha256 != listed[path].sha256:
                raise UpstreamError(f"{path} is not the file that was written", hint)


def _read(path: Path) -> dict[str, Any] | None:
    """The file's value, None when it is not there (any more: `twinctl clean` may be at work)."""
    try:
        stored: dict[str, Any] = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stored


def manifest(folder: Path) -> list[FileEntry]:
    """Every file below the folder: name (relative), bytes and sha256, sorted by name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, digest)
        for path, digest in zip(paths, read_all(paths, file_sha256), strict=True)
    ]
