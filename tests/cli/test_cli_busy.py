"""Two commands, one artifact: the second says who is there, or waits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from select import select
from typing import Any

import pytest

from tests.support.artifact_lock import held
from tests.support.commands import Cli


@pytest.fixture
def undone(prepared: dict[str, Any], home: Path) -> Path:
    """The folder in which the same prepare would work again."""
    folder = home / Path(prepared["path"]).parent
    (folder / "record.json").unlink()
    return folder


def test_busy_is_said_at_once(cli: Cli, prepare: list[str], undone: Path) -> None:
    with held(undone) as other:
        began = time.monotonic()
        shown = cli(*prepare)
        assert time.monotonic() - began < 20
        error = cli(*prepare, "--json").document["error"]
        assert cli("status", "--json").ok().document["runs"][0]["phases"][0]["state"] == "running"
    assert (shown.code, shown.out) == (5, "")
    assert f"process {other.pid}" in error["message"]
    assert "twinctl prepare --elsewhere" in error["message"]
    assert (error["code"], "--wait" in error["hint"]) == ("BusyError", True)
    assert error["message"] in shown.err


def test_wait_waits_and_says_so(prepare: list[str], undone: Path) -> None:
    command = [sys.executable, "-m", "twinctl.cli.app", *prepare, "--wait"]
    with held(undone):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr
        assert select([waiting.stderr], [], [], 20)[0], "nothing is said while it waits"
        assert "waiting: " in waiting.stderr.readline()
        assert waiting.poll() is None
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert "prepare: done" in out


def test_finished_artifact_needs_no_lock(cli: Cli, prepare: list[str], prepared: dict[str, Any], home: Path) -> None:
    with held(home / Path(prepared["path"]).parent):
        assert cli(*prepare, "--json").ok().document["cached"] is True
