"""A training of five steps in a process of its own that logs to a Comet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY = "goodKEY0123456789abcdefg"
EXPERIMENT = "twin" * 8

# What a training process is full of and Comet must not get: its code, arguments, environment and output.
SECRETS = ("SECRET-IN-CODE", "SECRET-IN-ARGV", "SECRET-IN-ENV", "SECRET-ON-STDOUT", "SECRET-ON-STDERR", "SECRET-IN-GIT")

SCRIPT = """
import json, sys, time
from pathlib import Path
first, early = int(sys.argv[1]), "early" in sys.argv
if early:
    import comet_ml  # as transformers does, before anybody could prepare the environment
from twinctl import tracking
began = time.monotonic()
run = tracking.start(experiment_key="twintwintwintwintwintwintwintwin", project="twin", name="posts",
                     parameters={"lora": {"rank": 16}, "base": "tiny"}, offline_dir=Path("attempt", str(first)))
started = time.monotonic() - began
note = "SECRET-IN-CODE"
print("SECRET-ON-STDOUT")
print("SECRET-ON-STDERR", file=sys.stderr)
for step in range(first, first + 5):
    run.log({"loss": 1 / (step + 1), "eval/loss": float("nan")}, step)
if "wait" in sys.argv:
    print("WAITING", flush=True)
    sys.stdin.readline()
began = time.monotonic()
run.end()
run.end()
run.log({"loss": 0.0}, 99)
ended = time.monotonic() - began
print(json.dumps({"mode": run.mode, "where": run.where, "warning": run.warning, "started": started, "ended": ended}))
"""


@dataclass
class Training:
    """What a training reported of its tracking, and all that it printed."""

    report: dict[str, Any]
    output: str


@dataclass
class Trainer:
    """Starts trainings in a folder that has code, a git history and a key in the environment."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        """A training under way."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("COMET_") and "proxy" not in k.lower()}
        own = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(self.folder), "A": "SECRET-IN-ENV"}
        return subprocess.Popen(
            [sys.executable, "training.py", *argv, "SECRET-IN-ARGV"],
            cwd=self.folder,
            env={**inherited, **own, **self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str, **env: str) -> Training:
        """A training from start to end: `first step`, then `early` or not."""
        process = self.start(*argv, **env)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return Training(json.loads(output.splitlines()[-1]), output)


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Read a process's output up to a line with a word."""
    assert process.stdout is not None
    deadline = time.monotonic() + 30
    while word not in process.stdout.readline():
        assert process.poll() is None and time.monotonic() < deadline
