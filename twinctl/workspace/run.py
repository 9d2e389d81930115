"""A run: a named thread through the workspace.

What must stay true: runs/<name>.json is replaced in one step under a lock, so two commands never lose each other's
change; a pointer moves when the record is committed; replacing an earlier phase leaves the later pointers where they
are.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from twinctl.errors import UpstreamError, UsageError
from twinctl.workspace.files import read_json, write_json, write_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass
class Run:
    """`pins`: what prepare fixed for the later phases. `slots`: finished artifacts; `started`: the last begun, by
    slot.
    """

    name: str
    pins: dict[str, Any] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)


class Runs:
    """The runs of a workspace, in its folder runs/, and the name of the current one."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "runs"
        self._current = root / "current"

    def names(self) -> list[str]:
        """All runs, oldest first."""
        paths = self._folder.glob("*.json") if self._folder.is_dir() else []
        return sorted((path.stem for path in paths), key=lambda name: self.get(name).created)

    def current(self) -> str | None:
        """The current run's name."""
        return self._current.read_text(encoding="utf-8").strip() if self._current.exists() else None

    def use(self, name: str) -> None:
        """Make the run the current one."""
        if self.current() != name:
            write_text(self._current, name + "\n")

    def get(self, name: str) -> Run:
        """The run. Raises UpstreamError when there is none of that name."""
        path = self._path(name)
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in self._folder.glob("*.json"))) if self._folder.is_dir() else ""
            raise UpstreamError(
                f"there is no run “{name}”" + (f"; runs: {known}" if known else ""),
                f"start it: twinctl prepare --run {name}",
            )
        try:
            return Run(**read_json(path))
        except TypeError as error:
            raise UpstreamError(
                f"{path} is damaged: {error}",
                f"move it away, then prepare again: mv {quote(str(path))} {quote(str(path))}.bad "
                f"&& twinctl prepare --run {name}",
            ) from error

    def exists(self, name: str) -> bool:
        """Whether there is a run of that name."""
        return self._path(name).exists()

    @contextmanager
    def change(self, name: str) -> Iterator[Run]:
        """The run (a new one if need be) to change inside the block; written when the block ends without an error."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run = self.get(name) if self.exists(name) else Run(name)
            before = asdict(run)
            yield run
            if asdict(run) != before or not self.exists(name):
                write_json(self._path(name), asdict(run))

    def point(self, name: str, slot: str, artifact: str, pins: Mapping[str, Any] | None = None) -> None:
        """Let the run's slot point to the artifact; with `pins`, fix those in the same step."""
        with self.change(name) as run:
            run.slots[slot] = artifact
            run.started[slot] = artifact
            run.pins.update(pins or {})

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise UsageError(f"“{name}” cannot name a run", "use letters, digits, “.”, “_” and “-”")
        return self._folder / f"{name}.json"
