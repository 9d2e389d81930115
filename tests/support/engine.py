"""Commands on the real stack, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        """Start a command and do not wait for it."""
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
        (path,) = (self.path / ".twinctl" / "artifacts" / phase).iterdir()
        return path

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
    workers = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "twinctl.worker" in words and any(word.startswith(f"{path}/") for word in words):
                workers.append(int(process.name))
    return workers


Once = Callable[[str, Callable[[Path], None]], Path]
