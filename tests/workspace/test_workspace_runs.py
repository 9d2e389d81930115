"""Runs: named threads that two commands may change at the same time without losing anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from twinctl.errors import UpstreamError, UsageError
from twinctl.workspace.run import Runs
from twinctl.workspace.workspace import Workspace

CHANGE = """
import sys
from pathlib import Path
from twinctl.workspace.run import Runs
runs = Runs(Path(sys.argv[1]))
for number in range(30):
    runs.point("shared", f"{sys.argv[2]}-{number}", f"toy/{number}")
"""


@pytest.fixture
def runs(workspace: Workspace) -> Runs:
    return workspace.runs


def test_a_pointer_moves_and_leaves_the_later_ones(runs: Runs) -> None:
    runs.point("a", "prepare", "prepare/one", {"preset": "tiny"})
    runs.point("a", "train", "train/one")
    runs.point("a", "prepare", "prepare/two", {"max_length": 64})
    run = runs.get("a")
    assert run.slots == run.started == {"prepare": "prepare/two", "train": "train/one"}
    assert run.pins == {"preset": "tiny", "max_length": 64}


def test_a_change_that_fails_changes_nothing(runs: Runs) -> None:
    runs.point("a", "prepare", "prepare/one")
    with pytest.raises(ZeroDivisionError), runs.change("a") as run:
        run.slots["prepare"] = "prepare/two"
        raise ZeroDivisionError
    assert runs.get("a").slots == {"prepare": "prepare/one"}


def test_a_change_that_fails_starts_no_run(runs: Runs) -> None:
    with pytest.raises(ZeroDivisionError), runs.change("a"):
        raise ZeroDivisionError
    assert not runs.exists("a")


def test_runs_are_listed_oldest_first(runs: Runs) -> None:
    for name, created in (("new", 30.0), ("old", 10.0), ("v1.2", 20.0)):
        with runs.change(name) as run:
            run.created = created
    assert runs.names() == ["old", "v1.2", "new"]


def test_the_current_run_is_the_one_last_used(workspace: Workspace) -> None:
    for name in ("a", "b"):
        workspace.runs.point(name, "prepare", "prepare/one")
        workspace.runs.use(name)
    assert workspace.run(None).name == "b"
    assert workspace.run("a").name == "a"


def test_an_unknown_run_names_those_there_are_and_how_to_start_it(runs: Runs) -> None:
    runs.point("alpha", "prepare", "prepare/one")
    with pytest.raises(UpstreamError, match="“beta”; runs: alpha") as caught:
        runs.get("beta")
    assert caught.value.hint == "start it: twinctl prepare --run beta"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": "a", "unheard": 1}'])
def test_a_damaged_run_is_named_with_the_mend(workspace: Workspace, content: str) -> None:
    workspace.runs.point("a", "prepare", "prepare/one")
    path = workspace.root / "runs" / "a.json"
    path.write_text(content)
    with pytest.raises(UpstreamError, match=r"a\.json is damaged") as caught:
        workspace.runs.get("a")
    assert f"mv {path} {path}.bad" in caught.value.hint


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-flag", "a b", "x" * 65, "a\n", "ü"])
def test_a_name_that_could_leave_the_folder_or_read_as_a_flag_is_refused(runs: Runs, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"), runs.change(name):
        pass


def test_two_processes_that_change_one_run_lose_nothing(workspace: Workspace) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", CHANGE, str(workspace.root), slot]) for slot in ("left", "right")
    ]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    expected = {f"{slot}-{number}": f"toy/{number}" for slot in ("left", "right") for number in range(30)}
    assert workspace.runs.get("shared").slots == expected
