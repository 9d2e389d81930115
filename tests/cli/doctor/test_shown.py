"""The light checks, and what is shown."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest

from tests.support.commands import Cli
from tests.support.doctor import COMMAND, GIB, finding
from twinctl.doctor import checks
from twinctl.errors import ConfigError
from twinctl.workspace.workspace import Workspace


@pytest.mark.parametrize(("free", "state", "code"), [(41, "ok", 0), (30, "warning", 0), (0.5, "failed", 8)])
def test_room_on_the_disks(
    cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch, free: float, state: str, code: int
) -> None:
    only()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free * GIB))
    done = cli("doctor", "--json")
    assert done.code == code
    for name, hint in (("disk", "--workspace"), ("model cache", "HF_HOME")):
        found = finding(done, name)
        assert (found["state"], hint in found["hint"]) == (state, state != "ok")
        assert f"{free:.1f} GiB free" in found["found"]


def test_a_workspace_elsewhere_is_looked_at_where_it_would_be(cli: Cli, only: Any, home: Path) -> None:
    only()
    (home / "big").mkdir()
    done = cli("doctor", "-w", "big/new/twin", "--json").ok()
    assert finding(done, "workspace")["found"].endswith("/big")
    assert finding(done, "disk")["found"].endswith("/big/new/twin")
    assert list((home / "big").iterdir()) == []


def test_a_file_system_without_locks_is_named(cli: Cli, only: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Workspace) -> None:
        raise ConfigError(f"the file system of {self.root} does not keep locks", "choose a local disk: --workspace DIR")

    only()
    monkeypatch.setattr(Workspace, "create", refuse)
    done = cli("doctor", "--json")
    assert done.code == 8
    assert finding(done, "workspace") == {
        "name": "workspace",
        "state": "failed",
        "found": f"the file system of {home} does not keep locks",
        "hint": "choose a local disk: --workspace DIR",
    }


def test_another_python_than_the_range(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    monkeypatch.setattr(checks, "metadata", lambda name: {"Requires-Python": "<3.5,>=3.3"})
    found = finding(cli("doctor", "--json"), "python")
    assert (found["state"], found["hint"]) == ("failed", "uv python install 3.12")
    assert found["found"].endswith("and twinctl wants <3.5,>=3.3")


def test_a_check_nobody_thought_would_fail_is_a_finding(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise RuntimeError("what?")

    only()
    monkeypatch.setattr(shutil, "disk_usage", fail)
    done = cli("doctor", "--json")
    assert done.code == 8
    assert finding(done, "disk")["found"] == "RuntimeError: what?"


def test_a_broken_client_of_the_hub_is_a_finding_too(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    assert finding(cli("doctor", "--json"), "model cache")["state"] == "failed"


def test_a_row_is_a_line_in_a_terminal_too(home: Path, library: Any) -> None:
    library("torch", "raise ImportError('gone')")
    child = pexpect.spawn(COMMAND[0], COMMAND[1:], encoding="utf-8", timeout=120, dimensions=(50, 200))
    child.expect(r"torch +failed +ImportError: gone *\r\n +→ +uv sync --reinstall-package torch")
    child.close(force=True)
