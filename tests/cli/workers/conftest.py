"""A worker that does as one does, and whoever looks on, waits or holds its lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.workers import MANY, WORKER, Start, begin
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.workspace import Workspace


@pytest.fixture
def training_workspace(home: Path) -> Workspace:
    """A workspace in which a run has begun to train."""
    workspace = Workspace.open(home / ".twinctl")
    workspace.create()
    begin(workspace, "tiny", train="train/lora-0")
    workspace.runs.use("tiny")
    return workspace


@pytest.fixture
def artifact(training_workspace: Workspace) -> Artifact:
    return training_workspace.artifact("train/lora-0")


@pytest.fixture
def start_python() -> Iterator[Start]:
    """Start Python code in a process of its own session and wait for its first line."""
    started: list[subprocess.Popen[str]] = []

    def start_(code: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline()
        return process

    yield start_
    for process in started:
        with process:  # closes the pipes
            process.kill()


@pytest.fixture
def work(start_python: Start, artifact: Artifact) -> Callable[..., subprocess.Popen[str]]:
    """Start a worker in the artifact; returns when it has done its first step."""
    return lambda steps=MANY, ends="complete": start_python(WORKER, artifact.path, steps, ends)
