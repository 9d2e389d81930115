"""The real command line on the real stack and the bundled tiny model, in processes of its own.

What must stay true: what costs a training is made once, also where several processes run the tests (`once`), and no
test changes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import EXPORT, NOWHERE, SECRETS, TRAIN, Folder, Once, workers_below


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """An empty working directory; a worker that a failed test leaves behind is ended."""
    made = Folder(tmp_path / "here")
    made.path.mkdir()
    yield made
    for worker in workers_below(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """Make a folder's content once for all processes that run the tests; the others wait for it."""
    root = tmp_path_factory.getbasetemp()
    shared = root if worker_id == "master" else root.parent

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what another process failed at
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def uninterrupted(once: Once) -> Folder:
    """One training from start to end and its exports, with secrets in the environment and Comet out of reach."""
    env = {**SECRETS, **NOWHERE}

    def make(path: Path) -> None:
        took = {}
        for words in (("prepare", "--preset", "tiny"), TRAIN, EXPORT):
            began = time.monotonic()
            Folder(path, env).type(*words)
            took[words[0]] = time.monotonic() - began
        (path / "took.json").write_text(json.dumps(took))

    return Folder(once("uninterrupted", make), env)


@pytest.fixture(scope="session")
def demo(once: Once) -> tuple[Folder, dict[str, Any]]:
    """`twinctl demo`, once: its working directory and its document."""

    def make(path: Path) -> None:
        (path / "document.json").write_text(json.dumps(Folder(path).type("demo", ".")))

    path = once("demo", make)
    return Folder(path), json.loads((path / "document.json").read_text())


@pytest.fixture(scope="session")
def in_process() -> Callable[[str], Any]:
    """Run code in a fresh Python; what it prints last is its answer, as JSON."""

    def run(code: str, **env: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
