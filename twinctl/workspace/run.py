"""A run: a named line of work through the workspace, from its tokens to its files.

What must stay true: runs/<name>.json is replaced in one step under a lock, so two commands never lose each other's
change; a pointer moves when the record is committed; replacing an earlier phase leaves the later pointers where they
are; `current` names a run that exists, or is not there; what would change nothing writes nothing, so that a read-only
workspace can be used.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from twinctl.errors import BusyError, UpstreamError, UsageError
from twinctl.wording import did_you_mean
from twinctl.workspace.files import fsync_path, read_json, write_json, write_text
from twinctl.workspace.layout import KEPT_PER_RUN
from twinctl.workspace.lock import is_locked, owner_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass
class Run:
    """`pins`: what prepare fixed for the later phases. `slots`: finished artifacts; `started`: the last begun, by
    slot.

    The order of `slots` is that in which the pointers moved: a result that was made, or asked for in place of another,
    is the last one, so the newest of a kind needs no clock. `started` keeps the order in which they were first begun.
    """

    name: str
    pins: dict[str, Any] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        for pointers in (self.slots, self.started):
            if not isinstance(pointers, dict) or not all(isinstance(path, str) for path in pointers.values()):
                raise TypeError("slots and started map names to paths")

    def artifacts(self) -> list[str]:
        """Everything that the run points to, relative to artifacts/."""
        return list(dict.fromkeys([*self.slots.values(), *self.started.values()]))


class Runs:
    """The runs of a workspace, in its folder runs/, and the name of the current one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "runs"
        self._current = root / "current"

    def names(self) -> list[str]:
        """All runs, oldest first."""
        return sorted(self._stems(), key=lambda name: self.get(name).created)

    def current(self) -> str | None:
        """The current run's name."""
        try:
            return self._current.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def use(self, name: str) -> None:
        """Make the run the current one. Raises UpstreamError when there is none of that name."""
        self.get(name)  # before the lock, which would make a folder for a mistyped name
        if self.current() != name:
            with self.locked():
                self.get(name)  # not removed meanwhile
                write_text(self._current, name + "\n")

    def get(self, name: str) -> Run:
        """The run. Raises UpstreamError when there is none of that name."""
        path = self._path(name)
        try:
            return Run(**read_json(path))
        except FileNotFoundError as error:
            known = self._stems()
            raise UpstreamError(
                f"there is no run “{name}”" + (f"; runs: {', '.join(known)}" if known else ""),
                did_you_mean(name, known, f"start it: twinctl prepare --run {name}"),
            ) from error
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
    def locked(self) -> Iterator[None]:
        """Inside the block nobody else changes a run, or which one is current."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def change(self, name: str) -> Iterator[Run]:
        """The run (a new one if need be) to change inside the block; written when the block ends without an error."""
        path = self._path(name)
        with self.locked():
            run = self.get(name) if path.exists() else Run(name)
            before = asdict(run)
            yield run
            if asdict(run) != before or not path.exists():
                write_json(path, asdict(run))

    def point(self, name: str, slot: str, artifact: str, pins: Mapping[str, Any] | None = None) -> None:
        """Let the run's slot point to the artifact; with `pins`, fix those in the same step."""
        if self.exists(name):
            run = self.get(name)
            is_pointing = run.slots.get(slot) == run.started.get(slot) == artifact
            if is_pointing and run.pins == {**run.pins, **(pins or {})}:
                return
        with self.change(name) as run:
            run.slots.pop(slot, None)  # to be the last one: see Run
            run.slots[slot] = artifact
            run.started[slot] = artifact
            run.pins.update(pins or {})

    def rename(self, old: str, new: str) -> None:
        """Give the run another name; `current` and what is kept by its name follow.

        Killed at any moment, this leaves the run under its old name, under its new one, or under both, and then the
        same call again removes the old one; `current` names one that is there. Raises UsageError when another run has
        the new name, BusyError while something of the run is being worked on.
        """
        self.get(old)
        path = self._path(new)
        with self.locked():
            run = self.get(old)
            renamed = replace(run, name=new)
            if old == new or (path.exists() and self.get(new) != renamed):
                raise UsageError(f"there is a run “{new}” already", "choose another name; the runs: twinctl runs")
            self._refuse_busy(run)
            write_json(path, asdict(renamed))
            if self.current() == old:
                write_text(self._current, new + "\n")
            for folder in KEPT_PER_RUN:
                _carry(self._root / folder / old, self._root / folder / new)
            self._path(old).unlink()
            fsync_path(self._folder)

    def remove(self, names: Sequence[str]) -> None:
        """Remove the runs: their names and pointers; results and what is kept by a run's name stay. All of them or, on
        an error, none.

        Killed at any moment, this leaves some of them, whole. If one was current, none is current after. Raises
        BusyError while something of a run is being worked on.
        """
        wanted = [self.get(name).name for name in dict.fromkeys(names)]
        with self.locked():
            for name in wanted:
                self._refuse_busy(self.get(name))
            for name in wanted:
                if self.current() == name:
                    self._current.unlink()
                    fsync_path(self._root)  # first, also through a power cut: `current` never names what is gone
                self._path(name).unlink()
            fsync_path(self._folder)

    def _refuse_busy(self, run: Run) -> None:
        for path in run.artifacts():
            folder = self._root / "artifacts" / path
            if is_locked(folder):
                raise BusyError(
                    f"{path} of run “{run.name}” is being worked on by {owner_text(folder)}",
                    "type the same command again when that has ended",
                )

    def _stems(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json")) if self._folder.is_dir() else []

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise UsageError(f"“{name}” cannot name a run", "use letters, digits, “.”, “_” and “-”")
        return self._folder / f"{name}.json"


def _carry(source: Path, target: Path) -> None:
    """Move a run's kept files into the folder of its new name, after what a removed run of that name left there."""
    if source.is_dir() and not target.exists():
        os.rename(source, target)
    elif source.is_dir():
        number = max((int(path.stem) for path in target.glob("*.jsonl") if path.stem.isdecimal()), default=0)
        for path in sorted(source.iterdir(), key=lambda path: (len(path.name), path.name)):
            number += path.stem.isdecimal()
            goal = target / (f"{number}.jsonl" if path.stem.isdecimal() else path.name)
            if goal.exists():  # one without a number
                path.write_bytes(goal.read_bytes() + path.read_bytes())
            os.rename(path, goal)
        source.rmdir()
