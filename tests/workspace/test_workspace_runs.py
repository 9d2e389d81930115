"""Runs, which two commands may change at the same time without losing anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.kills import MOST, EndsAt, dies_at, fails_at
from tests.support.toy_phase import files_below
from twinctl.errors import BusyError, UpstreamError, UsageError
from twinctl.workspace.lock import Lock
from twinctl.workspace.run import Run, Runs
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


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "3",
        '{"name": "a", "unheard": 1}',
        '{"name": "a", "slots": []}',
        '{"name": "a", "started": {"x": 1}}',
    ],
)
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


def test_the_pointer_that_moved_last_is_the_last(runs: Runs) -> None:
    for slot, path in (("x", "toy/1"), ("y", "toy/2"), ("x", "toy/3"), ("y", "toy/2")):
        runs.point("a", slot, path)
    assert list(runs.get("a").slots.items()) == [("y", "toy/2"), ("x", "toy/3")]
    assert list(runs.get("a").started) == ["x", "y"]


def test_a_pointer_that_is_where_it_is_wanted_writes_nothing(runs: Runs) -> None:
    runs.point("a", "x", "toy/1", {"preset": "tiny", "more": 1})
    runs.use("a")
    same: list[Callable[[], None]] = [
        lambda: runs.point("a", "x", "toy/1"),
        lambda: runs.point("a", "x", "toy/1", {"preset": "tiny"}),
        lambda: runs.use("a"),
    ]
    look: list[Callable[[], object]] = [runs.names, runs.current, lambda: runs.get("a"), lambda: runs.exists("b")]
    assert [dies_at(1, call) for call in (*same, *look)] == [False] * 7


@pytest.mark.parametrize("pins", [{"preset": "other"}, {"more": 1}])
def test_a_pin_alone_is_written(runs: Runs, pins: dict[str, object]) -> None:
    runs.point("a", "x", "toy/1", {"preset": "tiny"})
    runs.point("a", "x", "toy/1", pins)
    assert runs.get("a").pins == {"preset": "tiny", **pins}


def test_a_start_elsewhere_is_taken_back_by_a_hit(runs: Runs) -> None:
    runs.point("a", "x", "toy/1")
    with runs.change("a") as run:
        run.started["x"] = "toy/2"
    runs.point("a", "x", "toy/1")
    assert runs.get("a").started == {"x": "toy/1"}


def test_a_mistyped_run_gets_the_near_one_and_makes_nothing(tmp_path: Path, runs: Runs) -> None:
    runs.point("my-posts", "x", "toy/1")
    calls: list[Callable[[], object]] = [
        lambda: runs.get("my-post"),
        lambda: runs.use("my-post"),
        lambda: runs.rename("my-post", "b"),
        lambda: runs.remove(["my-posts", "my-post"]),
    ]
    for call in calls:
        with pytest.raises(UpstreamError, match="“my-post”; runs: my-posts") as caught:
            call()
        assert caught.value.hint == "did you mean “my-posts”?"
    with pytest.raises(UpstreamError):
        Runs(tmp_path / "none").use("a")
    assert not (tmp_path / "none").exists()
    assert runs.names() == ["my-posts"]


def _content(run: Run) -> dict[str, object]:
    return {key: value for key, value in asdict(run).items() if key != "name"}


@pytest.mark.parametrize("current", ["a", "other"])
def test_a_renamed_run_is_the_same_and_current_follows(runs: Runs, current: str) -> None:
    runs.point("a", "x", "toy/1", {"preset": "tiny"})
    runs.point("other", "x", "toy/1")
    runs.use(current)
    before = runs.get("a")
    runs.rename("a", "b")
    assert (runs.get("b").name, _content(runs.get("b"))) == ("b", _content(before))
    assert set(runs.names()) == {"b", "other"}
    assert runs.current() == ("b" if current == "a" else "other")


@pytest.mark.parametrize("new", ["b", "a"])
def test_a_name_that_is_taken_is_refused(workspace: Workspace, new: str) -> None:
    for name in ("a", "b"):
        workspace.runs.point(name, "x", "toy/1")
    before = files_below(workspace.root)
    with pytest.raises(UsageError, match=f"there is a run “{new}” already") as caught:
        workspace.runs.rename("a", new)
    assert "another name" in caught.value.hint
    assert files_below(workspace.root) == before


@pytest.mark.parametrize("new", ["", "../b", "-b"])
def test_a_new_name_that_cannot_be_one_is_refused(runs: Runs, new: str) -> None:
    runs.point("a", "x", "toy/1")
    with pytest.raises(UsageError, match="cannot name a run"):
        runs.rename("a", new)
    assert runs.names() == ["a"]


@pytest.mark.parametrize("pointer", ["slots", "started"])
def test_a_run_that_is_worked_on_keeps_its_name_and_says_who(workspace: Workspace, pointer: str) -> None:
    runs = workspace.runs
    with runs.change("a") as run:
        getattr(run, pointer)["x"] = "toy/1"
    runs.point("free", "x", "toy/2")
    lock = Lock(workspace.artifact("toy/1").path, ["train", "--rank", "8"])
    lock.acquire(wait=False)
    calls: list[Callable[[], None]] = [lambda: runs.rename("a", "b"), lambda: runs.remove(["free", "a"])]
    for call in calls:
        with pytest.raises(BusyError, match=r"toy/1 of run “a” is being worked on by .*twinctl train --rank 8"):
            call()
    assert set(runs.names()) == {"a", "free"}
    lock.release()
    runs.rename("a", "b")
    runs.remove(["free", "b", "b"])
    assert runs.names() == []


def test_a_removed_current_run_leaves_none_and_the_others_are_told(workspace: Workspace) -> None:
    for name in ("a", "b", "c"):
        workspace.runs.point(name, "x", "toy/1")
    workspace.runs.use("a")
    workspace.runs.remove(["b"])
    assert workspace.runs.current() == "a"
    workspace.runs.remove(["a"])
    assert workspace.runs.current() is None
    with pytest.raises(UpstreamError, match="no run is current; runs: c") as caught:
        workspace.run(None)
    assert "twinctl runs use NAME" in caught.value.hint
    assert workspace.run("c").name == "c"


@pytest.mark.parametrize("current", ["a", "other"])
@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_a_renaming_that_ends_at_any_change_loses_no_run_and_is_ended_by_the_same_call(
    tmp_path: Path, ends_at: EndsAt, current: str
) -> None:
    for point in range(1, MOST):
        runs = Runs(tmp_path / str(point))
        for name in ("a", "other"):
            runs.point(name, "x", f"toy/{name}", {"preset": "tiny"})
        runs.use(current)
        before = _content(runs.get("a"))
        ended = ends_at(point, lambda runs=runs: runs.rename("a", "b"))
        left = {"a", "b"} & set(runs.names())
        assert left
        assert all(_content(runs.get(name)) == before for name in left)
        assert runs.current() in ({"other"} if current == "other" else left)
        if "a" in left:
            runs.rename("a", "b")
        assert set(runs.names()) == {"b", "other"}
        assert runs.current() == ("b" if current == "a" else "other")
        if not ended:
            break
    assert 5 < point < MOST - 1


@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_a_removal_that_ends_at_any_change_leaves_whole_runs_and_no_wrong_current(
    tmp_path: Path, ends_at: EndsAt
) -> None:
    for point in range(1, MOST):
        runs = Runs(tmp_path / str(point))
        for name in ("a", "b", "c"):
            runs.point(name, "x", f"toy/{name}")
        runs.use("b")
        ended = ends_at(point, lambda runs=runs: runs.remove(["a", "b"]))
        assert "c" in runs.names()
        assert runs.current() is None or runs.current() in runs.names()
        runs.remove([name for name in runs.names() if name != "c"])
        assert (runs.names(), runs.current()) == (["c"], None)
        if not ended:
            break
    assert 3 < point < MOST - 1


def test_a_run_cannot_become_current_while_it_is_removed(runs: Runs) -> None:
    """Whoever asks for it waits for the runs' lock, and then finds it gone."""
    import threading

    runs.point("a", "x", "toy/1")
    failures: list[UpstreamError] = []

    def use() -> None:
        with pytest.raises(UpstreamError) as caught:
            runs.use("a")
        failures.append(caught.value)

    other = threading.Thread(target=use)
    with runs.locked():
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        runs._path("a").unlink()
    other.join()
    assert len(failures) == 1
    assert runs.current() is None
