"""Python processes whose Hub is the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.commands import Done

TOKEN = "hf_" + "W" * 34
_PRELUDE = """
import json, sys
from twinctl import hub
from twinctl.errors import TwinctlError
def call(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except TwinctlError as error:
        return {"error": error.code, "exit": error.exit_code, "message": error.message, "hint": error.hint,
                "cause": type(error.__cause__).__name__}
def show(value):
    print(json.dumps(value, default=lambda v: getattr(v, "__dict__", None) or str(v)))
"""


@dataclass
class Answer:
    """What a process printed, and how long it took."""

    values: list[Any]
    stdout: str
    stderr: str
    seconds: float


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]

    def done(self, timeout: float = 90) -> Done:
        """Wait for its end."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return Done(self.process.returncode, out, err)


@dataclass
class Client:
    """Runs code against a Hub, with a cache of its own that lasts from one run to the next."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, code: str, **env: str) -> Answer:
        """Run code after the prelude; what it `show`s comes back as values."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _PRELUDE + code],
            env={**self.clean(), **env},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        values = [json.loads(line) for line in done.stdout.splitlines()]
        return Answer(values, done.stdout, done.stderr, time.monotonic() - began)

    def command(self, *words: object, **env: str) -> Done:
        """Run a command of twinctl as people do."""
        return self.start(*words, **env).done()

    def start(self, *words: object, **env: str) -> Running:
        """Start a command of twinctl and do not wait for its end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "twinctl.cli.app", *map(str, words)],
            env={**self.clean(), **env},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Running(process)

    def clean(self) -> dict[str, str]:
        """The environment without what the person who tests has set for the Hub."""
        inherited = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("HF_", "TRANSFORMERS_")) and "proxy" not in k.lower()
        }
        return {**inherited, **self.env}

    def ask(self, expression: str, **env: str) -> Any:
        """The value of one call, written `call(hub.resolve_model, "a/b", None)`, an error being a dict."""
        return self.run(f"show({expression})", **env).values[0]
