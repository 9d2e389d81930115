"""Fixtures: a Comet on loopback, and a training of five steps in a process of its own that logs to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.comet_server import CometStandIn
from tests.support.comet_training import KEY, SCRIPT, Trainer


@pytest.fixture
def comet() -> Iterator[CometStandIn]:
    with CometStandIn(KEY) as server:
        yield server


@pytest.fixture
def trainer(comet: CometStandIn, tmp_path: Path) -> Trainer:
    (tmp_path / "training.py").write_text(SCRIPT)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "SECRET-IN-GIT"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return Trainer(tmp_path, {"COMET_URL_OVERRIDE": comet.url, "COMET_API_KEY": KEY})
