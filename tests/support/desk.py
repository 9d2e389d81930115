"""A working directory in which commands are typed, in this process, on a tiny model and with phases that do no work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.commands import Done
from tests.support.stand_ins import fake_gguf, fake_merge, fake_train, make_model, rows, write_rows
from twinctl.cli.app import app
from twinctl.phases import gguf, merge, train
from twinctl.workspace.workspace import Workspace

PREPARE = "prepare --preset tiny --model model -d posts.jsonl"


@dataclass(frozen=True)
class Desk:
    """A working directory with its workspace."""

    path: Path

    @property
    def workspace(self) -> Workspace:
        """The workspace as the next command would open it."""
        return Workspace.open(self.path / ".twinctl")

    def type(self, *words: object) -> Done:
        """Run a command here. The environment is as before afterwards."""
        typed = [word for part in words for word in (shlex.split(part) if isinstance(part, str) else [str(part)])]
        before = dict(os.environ)
        with chdir(self.path), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["twinctl", *typed])
            done = CliRunner().invoke(app, typed, prog_name="twinctl")
        os.environ.clear()
        os.environ.update(before)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    def ask(self, *words: object) -> dict[str, Any]:
        """The document of a command that must go well."""
        return self.type(*words, "--json").ok().document

    def refused(self, *words: object, code: int) -> dict[str, str]:
        """The error of a command that must end with this exit code."""
        done = self.type(*words, "--json")
        assert done.code == code, f"exit {done.code}\n{done.out}\n{done.err}"
        error: dict[str, str] = done.document["error"]
        return error

    def states(self, *words: object) -> dict[str, str]:
        """What status says of the run's phases, by slot."""
        (run,) = json.loads(self.type("status", *words, "--json").out)["runs"]
        return {line["slot"]: line["state"] for line in run["phases"]}

    def out(self, slot: str, run: str | None = None) -> Path:
        """The folder of a finished result."""
        workspace = self.workspace
        return workspace.artifact(workspace.run(run).slots[slot]).out

    def files(self) -> dict[str, bytes]:
        """Every file's bytes by its name, but for the memo of digests, which may forget and learn."""
        paths = (path for path in self.path.rglob("*") if path.is_file() and path.name != "digests.json")
        return {str(path.relative_to(self.path)): path.read_bytes() for path in paths}


def make_twin(folder: Path, *, count: int = 60) -> Desk:
    """A desk with rows, a model, tokens and, by the fake training, an adapter."""
    desk = lay_out(folder, count=count)
    desk.type(PREPARE).ok()
    desk.type("train").ok()
    return desk


def lay_out(folder: Path, *, count: int = 60) -> Desk:
    """A desk with rows and a model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "posts.jsonl", rows(count))
    make_model(folder / "model")
    return Desk(folder)


def copied(desk: Desk, folder: Path) -> Desk:
    """A copy of the desk in another folder, as if everything had been made there."""
    shutil.copytree(desk.path, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
    (folder / ".twinctl/digests.json").unlink(missing_ok=True)
    for path in folder.glob(".twinctl/runs/*.json"):
        path.write_text(path.read_text().replace(f'"{desk.path}', f'"{folder}'))
    return Desk(folder)


def fake_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """train, merge and gguf at once and without a worker."""
    for module, run in ((train, fake_train), (merge, fake_merge), (gguf, fake_gguf)):
        monkeypatch.setattr(module, "PHASE", replace(module.PHASE, run=run, in_worker=False))
