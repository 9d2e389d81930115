"""Fixtures: a Hub on loopback, and Python processes whose Hub it is.

HF_ENDPOINT and HF_HUB_OFFLINE are read when huggingface_hub is imported, so the code under test runs in a process of
its own, the test's process keeping the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .stand_in import HubStandIn

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
class Client:
    """Runs code against a Hub, with a cache of its own that lasts from one run to the next."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, code: str, **env: str) -> Answer:
        """Run code after the prelude; what it `show`s comes back as values."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("HF_", "TRANSFORMERS_")) and "proxy" not in k.lower()
        }
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _PRELUDE + code],
            env={**kept, **self.env, **env},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        values = [json.loads(line) for line in done.stdout.splitlines()]
        return Answer(values, done.stdout, done.stderr, time.monotonic() - began)

    def ask(self, expression: str, **env: str) -> Any:
        """The value of one call, written `call(hub.resolve_model, "a/b", None)`, an error being a dict."""
        return self.run(f"show({expression})", **env).values[0]


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn() as server:
        yield server


@pytest.fixture
def client(hub: HubStandIn, tmp_path: Path) -> Client:
    root = str(Path(__file__).parents[2])
    return Client(tmp_path, {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": root})
