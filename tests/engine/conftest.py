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
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from twinctl.workspace.files import read_lines

TWINCTL = [sys.executable, "-m", "twinctl.cli.app"]
STEPS, SAVE_EVERY = 20, 6
TRAIN = ("train", "--max-steps", str(STEPS), "--save-every", str(SAVE_EVERY), "--batch-size", "2")
EXPORT = ("export", "-q", "f32", "-q", "q8_0")
SECRETS = {"HF_TOKEN": "hf_planted0123456789secret", "COMET_API_KEY": "cometplanted9876543210key"}
NOWHERE = {"COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}


@dataclass
class Folder:
    """A working directory in which commands are typed."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Type a command and go on."""
        return subprocess.Popen(
            [*TWINCTL, *words],
            cwd=self.path,
            env={**os.environ, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def type(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Type a command with --json and wait; its document. Fails the test for another exit code."""
        process = self.start(*words, "--json", env=env)
        out, err = process.communicate(timeout=400)
        assert process.returncode == code, f"twinctl {' '.join(words)}: {process.returncode}\n{out}\n{err}"
        return json.loads(out)

    def artifact(self, phase: str) -> Path:
        """The one artifact of a phase."""
        (found,) = (self.path / ".twinctl" / "artifacts" / phase).iterdir()
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Training's events of a kind."""
        return [event for event in read_lines(self.artifact("train") / "events.jsonl") if event["event"] == kind]

    def losses(self) -> dict[int, float]:
        """Loss by step; of a step done twice, the later."""
        return {event["step"]: event["loss"] for event in self.events("step")}

    def wait_for(self, kind: str, step: int, process: subprocess.Popen[str]) -> None:
        """Until training has had this event of this step."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if any(event["step"] >= step for event in self.events(kind)):
                    return
            except (ValueError, FileNotFoundError):  # no artifact yet
                pass
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        raise AssertionError(f"no {kind} of step {step}")

    def worker(self) -> int:
        """The worker's process id."""
        return int(json.loads((self.artifact("train") / "owner.json").read_text())["pid"])

    def adapter(self) -> bytes:
        """The finished adapter's weights."""
        return (self.artifact("train") / "out" / "adapter_model.safetensors").read_bytes()


def workers_below(path: Path) -> list[int]:
    """The living workers of workspaces below a folder, also those whose command is gone.

    By their job file, which is on their command line: an owner.json could name a process that is long another one.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "twinctl.worker" in words and any(word.startswith(f"{path}/") for word in words):
                found.append(int(process.name))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """An empty working directory; a worker that a failed test leaves behind is ended."""
    made = Folder(tmp_path / "here")
    made.path.mkdir()
    yield made
    for worker in workers_below(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


Once = Callable[[str, Callable[[Path], None]], Path]


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
