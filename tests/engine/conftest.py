"""The real command line on the real stack and the bundled tiny model, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TWINCTL = [sys.executable, "-m", "twinctl.cli.app"]


@dataclass
class Folder:
    """A working directory in which commands are typed."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Type a command and go on."""
        return subprocess.Popen(
            [*TWINCTL, *words],
            cwd=self.path,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def type(self, *words: str, code: int = 0) -> Any:
        """Type a command with --json and wait; its document. Fails the test for another exit code."""
        process = self.start(*words, "--json")
        out, err = process.communicate(timeout=400)
        assert process.returncode == code, f"twinctl {' '.join(words)}: {process.returncode}\n{out}\n{err}"
        return json.loads(out)

    def artifact(self, phase: str) -> Path:
        """The one artifact of a phase."""
        (found,) = (self.path / ".twinctl" / "artifacts" / phase).iterdir()
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Training's events of a kind."""
        lines = (self.artifact("train") / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

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
            except (ValueError, FileNotFoundError):
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


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """An empty working directory; a worker that a failed test leaves behind is ended."""
    made = Folder(tmp_path)
    yield made
    for owner in tmp_path.glob(".twinctl/artifacts/*/*/owner.json"):
        try:
            os.killpg(int(json.loads(owner.read_text())["pid"]), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, dict[str, Any]]:
    """`twinctl demo`, once: its working directory and its document."""
    path = tmp_path_factory.mktemp("demo")
    return Folder(path), Folder(path).type("demo", ".")


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
