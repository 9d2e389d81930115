"""clean: what no run leads to goes, what one leads to stays, whatever moment it ends at and whoever else works."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.kills import MOST, EndsAt, dies_at, fails_at
from tests.support.toy_phase import RUN, Toy, files_below, text_of
from twinctl.errors import UpstreamError
from twinctl.pipeline.phase import AnyPlan
from twinctl.workspace import clean as clean_module
from twinctl.workspace.artifact import Artifact, Record, manifest
from twinctl.workspace.clean import Leftover, Sweep, clean, survey
from twinctl.workspace.lock import Lock
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.workspace import Workspace


def make(workspace: Workspace, toy: Toy, text: str, parent: str | None = None, slot: str = "toy") -> str:
    """Make a finished artifact, to which the run's slot points then; its path."""
    plan = _plan(workspace, toy, text, parent, slot)
    toy.execute(workspace, plan)
    return plan.path(workspace)


def _plan(workspace: Workspace, toy: Toy, text: str, parent: str | None, slot: str) -> AnyPlan:
    plan = replace(toy.plan(text=text), slot=slot)
    if parent is None:
        return plan
    record = workspace.artifact(parent).record()
    assert record
    return replace(plan, inputs={"upstream": record.digest}, parents={"upstream": parent})


def begin(workspace: Workspace, toy: Toy, text: str, parent: str | None = None, slot: str = "toy") -> str:
    """Begin an artifact and leave it unfinished; its path."""

    def stop(attempt: object) -> None:
        raise ValueError("once")

    plan, toy.before = _plan(workspace, toy, text, parent, slot), stop
    with pytest.raises(ValueError, match="once"):
        toy.execute(workspace, plan)
    toy.before = lambda attempt: None
    return plan.path(workspace)


def artifacts(workspace: Workspace) -> set[str]:
    """All folders that are there, trash too."""
    return {f"{path.parent.name}/{path.name}" for path in (workspace.root / "artifacts").glob("*/*")}


def shown(found: list[Leftover]) -> dict[str, str]:
    return {item.path.removeprefix("artifacts/"): item.reason for item in found}


@pytest.fixture
def working() -> Iterator[Callable[[Artifact], Lock]]:
    """Hold an artifact's lock, as whoever works there does, until the test ends."""
    locks: list[Lock] = []

    def hold(artifact: Artifact) -> Lock:
        locks.append(Lock(artifact.path, ["train"]))
        locks[-1].acquire(wait=False)
        return locks[-1]

    yield hold
    for lock in locks:
        lock.release()


def test_where_all_is_pointed_to_nothing_is_touched(workspace: Workspace, toy: Toy) -> None:
    make(workspace, toy, "one")
    before = files_below(workspace.root)
    assert clean(workspace) == survey(workspace) == Sweep([], [])
    assert not dies_at(1, lambda: clean(workspace))
    assert files_below(workspace.root) == before


def test_a_folder_that_is_no_workspace_is_left_alone(tmp_path: Path) -> None:
    for name in ("current.1.partial", "x.json.1.partial", ".probe-x", "runs/a.partial", "artifacts/x/a-12345678"):
        (tmp_path / name).mkdir(parents=True)
    assert clean(Workspace.open(tmp_path)) == Sweep([], [])
    assert len(list(tmp_path.iterdir())) == 5


def test_what_was_replaced_goes_whole_and_the_rest_stays_to_the_byte(workspace: Workspace, toy: Toy) -> None:
    old, new = make(workspace, toy, "old"), make(workspace, toy, "new")
    folder = workspace.artifact(old).path
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    kept = {name: data for name, data in files_below(workspace.root).items() if not name.startswith(f"artifacts/{old}")}
    sweep = clean(workspace)
    assert shown(sweep.gone) == {old: "no run points to it"}
    assert sweep.bytes == size
    assert artifacts(workspace) == {new}
    assert {name: data for name, data in files_below(workspace.root).items() if name != "runs/.lock"} == {
        name: data for name, data in kept.items() if name != "runs/.lock"
    }


def test_looking_says_the_same_and_writes_nothing(workspace: Workspace, toy: Toy) -> None:
    make(workspace, toy, "old"), make(workspace, toy, "new")
    assert not dies_at(1, lambda: survey(workspace))
    assert survey(workspace) == survey(workspace)
    assert survey(workspace).gone == clean(workspace).gone


def test_what_another_run_points_to_stays(workspace: Workspace, toy: Toy) -> None:
    old = make(workspace, toy, "old")
    workspace.runs.point("other", "toy", old)
    new = make(workspace, toy, "new")
    assert clean(workspace) == Sweep([], [])
    workspace.runs.remove(["other"])
    assert shown(clean(workspace).gone) == {old: "no run points to it"}
    workspace.runs.remove([RUN])
    assert shown(clean(workspace).gone) == {new: "no run points to it"}


def test_what_something_that_stays_was_made_from_stays_however_far_back(workspace: Workspace, toy: Toy) -> None:
    tokens = make(workspace, toy, "tokens", slot="prepare")
    adapter = make(workspace, toy, "adapter", tokens, slot="train")
    merged = make(workspace, toy, "merged", adapter, slot="merge")
    others = {make(workspace, toy, f"new {slot}", slot=slot) for slot in ("prepare", "train")}
    assert clean(workspace) == Sweep([], [])
    last = make(workspace, toy, "new merge", slot="merge")
    assert set(shown(clean(workspace).gone)) == {tokens, adapter, merged}
    assert artifacts(workspace) == {*others, last}


def test_what_can_go_on_stays_with_its_work_and_what_it_was_begun_from(workspace: Workspace, toy: Toy) -> None:
    tokens = make(workspace, toy, "tokens", slot="prepare")
    begun = begin(workspace, toy, "adapter", tokens, slot="train")
    make(workspace, toy, "new tokens", slot="prepare")
    assert clean(workspace) == Sweep([], [])
    assert (workspace.artifact(begun).work / "checkpoint").exists()
    other = begin(workspace, toy, "another", slot="train")
    assert shown(clean(workspace).gone) == dict.fromkeys(sorted([tokens, begun]), "no run points to it")
    assert workspace.artifact(other).state() == "failed"


def test_work_that_a_crash_left_beside_a_result_goes(workspace: Workspace, toy: Toy) -> None:
    path = make(workspace, toy, "one")
    (workspace.artifact(path).work / "deep").mkdir(parents=True)
    (workspace.artifact(path).work / "deep" / "file").write_text("12345")
    sweep = clean(workspace)
    assert (shown(sweep.gone), sweep.bytes) == ({f"{path}/work": "left by a crash"}, 5)
    assert text_of(workspace.artifact(path)) == "oneoneone"
    assert not workspace.artifact(path).work.exists()


def test_what_interrupted_writes_probes_and_cleans_left_goes(workspace: Workspace, toy: Toy) -> None:
    path = make(workspace, toy, "one")
    left = {
        f"artifacts/{path}/record.json.123.partial": "left by an interrupted write",
        ".probe-xyz/a": "left by a crash",
        "current.123.partial": "left by an interrupted write",
        "digests.json.123.partial": "left by an interrupted write",
        "runs/a.json.123.partial": "left by an interrupted write",
        f"artifacts/toy/.trash-{Path(path).name}.12345678/out/text.txt": "left by an interrupted clean",
    }
    for name in left:
        (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / name).write_text("123")
    sweep = clean(workspace)
    assert {item.path: item.reason for item in sweep.gone} == {
        name.removesuffix("/a").removesuffix("/out/text.txt"): reason for name, reason in left.items()
    }
    assert sweep.bytes == 3 * len(left)
    assert survey(workspace) == Sweep([], [])
    assert not any((workspace.root / name).exists() for name in left)


def test_a_strangers_folder_is_left_alone(workspace: Workspace, toy: Toy) -> None:
    path = make(workspace, toy, "one")
    folder = workspace.artifact(path).path
    for name in (f"{folder.name}.bak", "mine", "notes-1234567", "x-123456789", "x-ABCDEF01"):
        shutil.copytree(folder, folder.with_name(name))
    (folder.parent / "file-12345678").write_text("not a folder")
    assert survey(workspace) == Sweep([], [])


def test_what_is_worked_on_stays_and_is_said_and_so_does_what_it_is_made_from(
    workspace: Workspace, toy: Toy, working: Callable[[Artifact], Lock]
) -> None:
    tokens = make(workspace, toy, "tokens", slot="prepare")
    begun = begin(workspace, toy, "adapter", tokens, slot="train")
    (workspace.artifact(begun).path / "owner.json.123.partial").write_text("being written")
    make(workspace, toy, "new tokens", slot="prepare"), make(workspace, toy, "new adapter", slot="train")
    lock = working(workspace.artifact(begun))
    sweep = clean(workspace)
    assert sweep.gone == []
    assert re.match(rf"in use by process {os.getpid()} on .* \(twinctl train\)", shown(sweep.kept)[begun])
    assert (workspace.artifact(begun).path / "owner.json.123.partial").exists()
    lock.release()
    assert set(shown(clean(workspace).gone)) == {tokens, begun}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "b", "slots": null}'])
def test_a_damaged_run_stops_it_before_anything_goes(workspace: Workspace, toy: Toy, content: str) -> None:
    make(workspace, toy, "old"), make(workspace, toy, "new")
    (workspace.root / "runs" / "b.json").write_text(content)
    before = files_below(workspace.root)
    for call in (survey, clean):
        with pytest.raises(UpstreamError, match=r"b\.json is damaged"):
            call(workspace)
    assert files_below(workspace.root) == before


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_record_of_what_stays_stops_it_and_one_of_what_goes_does_not(
    workspace: Workspace, toy: Toy, content: str
) -> None:
    old, new = make(workspace, toy, "old"), make(workspace, toy, "new")
    record = workspace.artifact(new).path / "record.json"
    whole = record.read_text()
    record.write_text(content)
    before = files_below(workspace.root)
    with pytest.raises(UpstreamError, match=re.escape(str(record))):
        clean(workspace)
    assert files_below(workspace.root) == before
    record.write_text(whole)
    (workspace.artifact(old).path / "record.json").write_text(content)
    begin(workspace, toy, "unfinished", slot="train")
    assert shown(clean(workspace).gone) == {old: "no run points to it"}


def test_links_are_removed_and_never_followed(workspace: Workspace, toy: Toy, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "file").write_text("x" * 10_000)
    old = workspace.artifact(make(workspace, toy, "old"))
    moved = workspace.artifact(make(workspace, toy, "moved"))
    make(workspace, toy, "new")
    (old.out / "folder link").symlink_to(outside / "folder")
    (old.out / "file link").symlink_to(outside / "folder" / "file")
    (old.out / "nowhere").symlink_to(outside / "nothing")
    moved.path.rename(outside / "moved")
    moved.path.symlink_to(outside / "moved")
    before = files_below(outside)
    sweep = clean(workspace)
    assert len(sweep.gone) == 2
    assert sweep.bytes < 10_000
    after = files_below(outside)
    assert {name for name in before if after.get(name) != before[name]} <= {"moved/owner.json"}
    assert len(artifacts(workspace)) == 1
    work = Path(os.path.realpath(workspace.root / "artifacts" / next(iter(artifacts(workspace))))) / "work"
    work.symlink_to(outside / "folder")
    assert [item.reason for item in clean(workspace).gone] == ["left by a crash"]
    assert (outside / "folder" / "file").exists()


def test_what_may_not_be_deleted_is_named_and_the_rest_stays_right(
    workspace: Workspace, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make(workspace, toy, text) for text in ("one", "two", "new")]
    unlink = os.unlink

    def refuse(path: Any, **options: Any) -> None:
        if str(path).endswith("text.txt"):
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, **options)

    with monkeypatch.context() as patch, pytest.raises(PermissionError, match=r"\.trash-.*/out/text\.txt"):
        patch.setattr(os, "unlink", refuse)
        clean(workspace)
    gone = sorted(paths[:2])[0]
    assert {path for path in artifacts(workspace) if "trash" not in path} == set(paths) - {gone}
    for path in set(paths) - {gone}:
        workspace.artifact(path).check(file_sha256, RUN)
    assert len(clean(workspace).gone) == 2
    assert artifacts(workspace) == {paths[2]}


def test_trash_is_never_taken_for_a_result(workspace: Workspace, toy: Toy) -> None:
    plan = toy.plan(text="old")
    make(workspace, toy, "old"), make(workspace, toy, "new")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean_module, "_delete", lambda path: None)
        clean(workspace)
    assert any("trash" in path for path in artifacts(workspace))
    assert not toy.execute(workspace, plan).cached


def test_what_is_used_again_between_looking_and_removing_stays(
    workspace: Workspace, toy: Toy, monkeypatch: pytest.MonkeyPatch, working: Callable[[Artifact], Lock]
) -> None:
    paths = [make(workspace, toy, text) for text in ("pointed to", "worked on", "begun again", "not", "new")]
    (workspace.artifact(paths[4]).work / "out").mkdir(parents=True)
    found = survey(workspace)
    workspace.runs.point("other", "toy", paths[0])
    working(workspace.artifact(paths[1]))
    with workspace.runs.change("another") as run:
        run.started["toy"] = paths[2]
    (workspace.artifact(paths[4]).path / "record.json").unlink()
    monkeypatch.setattr(clean_module, "survey", lambda workspace: found)
    sweep = clean(workspace)
    assert shown(sweep.gone) == {paths[3]: "no run points to it"}
    assert set(shown(sweep.kept)) == {paths[0], paths[1], paths[2], f"{paths[4]}/work"}
    assert artifacts(workspace) == set(paths) - {paths[3]}


def test_no_pointer_moves_between_the_last_look_and_the_removal(
    workspace: Workspace, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = make(workspace, toy, "old"), make(workspace, toy, "new")
    other = threading.Thread(target=lambda: workspace.runs.point("other", "toy", old))
    rename = os.rename

    def while_another_points(source: Path, target: Path) -> None:
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        monkeypatch.setattr(os, "rename", rename)
        rename(source, target)

    monkeypatch.setattr(os, "rename", while_another_points)
    assert shown(clean(workspace).gone) == {old: "no run points to it"}
    other.join()


def _mess(workspace: Workspace, toy: Toy) -> tuple[str, str]:
    """One of everything that goes and something that stays: (the artifact that goes, the one that stays)."""
    goes, stays = make(workspace, toy, "goes"), make(workspace, toy, "stays")
    (workspace.artifact(stays).work / "out").mkdir(parents=True)
    for name in ("runs/a.json.1.partial", f"artifacts/{stays}/record.json.1.partial", "artifacts/toy/.trash-x.1/a"):
        (workspace.root / name).parent.mkdir(exist_ok=True)
        (workspace.root / name).touch()
    return goes, stays


@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_a_clean_that_ends_at_any_change_leaves_whole_artifacts_and_the_rest_to_the_next(
    tmp_path: Path, toy: Toy, ends_at: EndsAt
) -> None:
    template = Workspace.open(tmp_path / "template")
    template.create()
    goes, stays = _mess(template, toy)
    whole = set(files_below(template.artifact(goes).path))
    for point in range(1, MOST):
        workspace = Workspace.open(tmp_path / str(point))
        shutil.copytree(template.root, workspace.root)
        ended = ends_at(point, lambda workspace=workspace: clean(workspace))
        there = set(files_below(workspace.artifact(goes).path))
        assert not workspace.artifact(goes).path.exists() or there >= whole
        clean(workspace)
        assert survey(workspace) == Sweep([], [])
        assert artifacts(workspace) == {stays}
        workspace.artifact(stays).check(file_sha256, RUN)
        assert set(files_below(workspace.artifact(stays).path)) == set(files_below(template.artifact(stays).path)) - {
            "record.json.1.partial"
        }
        if not ended:
            break
    assert 20 < point < MOST - 1


def _in_child(work: Callable[[], object]) -> int:
    """The process id of a child that does the work and exits with 0 when it went well."""
    if child := os.fork():
        return child
    signal.alarm(60)
    try:
        work()
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)
    os._exit(0)


def _ended(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def test_two_at_once_remove_everything_together(workspace: Workspace, toy: Toy) -> None:
    for round_ in range(2):
        for number in range(4):
            make(workspace, toy, f"{round_} {number}")
        for number in range(20):
            trash = workspace.root / "artifacts" / "toy" / f".trash-{number}"
            trash.mkdir()
            (trash / "file").touch()
        children = [_in_child(lambda: clean(workspace)) for _ in range(2)]
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        clean(workspace)  # what one left because the other had its lock
        assert len(artifacts(workspace)) == 1


def _hit_or_make(workspace: Workspace, path: str, record: Record) -> bool:
    """As execute does it: look, point, look again; else lock, look, work, point. Whether it was a hit."""
    artifact, done = workspace.artifact(path), workspace.artifact(path).path / "record.json"
    if done.exists():
        workspace.runs.point(RUN, "toy", path)
        if done.exists():
            return True
    lock = Lock(artifact.path)
    lock.acquire(wait=True)
    try:
        if not done.exists():
            (artifact.work / "out").mkdir(parents=True, exist_ok=True)
            (artifact.work / "out" / "text.txt").write_text("text")
            artifact.commit(replace(record, files=manifest(artifact.work / "out")))
        workspace.runs.point(RUN, "toy", path)
    finally:
        lock.release()
    return False


def test_whoever_uses_results_while_others_are_cleaned_never_has_a_pointer_to_nothing(
    workspace: Workspace, toy: Toy
) -> None:
    record = toy.execute(workspace).record
    paths = [make(workspace, toy, text) for text in ("one", "two")]

    def use() -> None:
        for number in range(80):
            _hit_or_make(workspace, paths[number % 2], record)
            assert workspace.runs.get(RUN).slots["toy"] == paths[number % 2]
            assert workspace.artifact(paths[number % 2]).record()
            workspace.artifact(paths[number % 2]).check(None, RUN)

    child, freed = _in_child(use), 0
    while (code := _ended(child)) is None:
        freed += len(clean(workspace).gone)
    assert code == 0
    assert freed > 3


def test_a_process_that_waits_for_what_is_being_removed_works_in_a_new_folder(
    workspace: Workspace, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = toy.plan(text="old")
    make(workspace, toy, "old"), make(workspace, toy, "new")
    delete, renamed = clean_module._delete, threading.Event()

    def slowly(path: Path) -> None:
        monkeypatch.setattr(clean_module, "_delete", delete)
        renamed.set()
        time.sleep(0.2)
        delete(path)

    monkeypatch.setattr(clean_module, "_delete", slowly)
    cleaner = threading.Thread(target=lambda: clean(workspace))
    cleaner.start()
    renamed.wait()
    outcome = toy.execute(workspace, plan)
    cleaner.join()
    assert not outcome.cached
    clean(workspace)
    outcome.artifact.check(file_sha256, RUN)
    assert artifacts(workspace) == {plan.path(workspace)}
