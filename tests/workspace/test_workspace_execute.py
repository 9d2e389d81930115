"""Look up → lock → look up again → run → commit: the cache, the record and what a failure leaves."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.toy_phase import RUN, Toy, files_below, text_of
from twinctl.errors import ConfigError, Interrupted, UpstreamError
from twinctl.pipeline.phase import AnyAttempt
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.workspace import Workspace


def _raise(error: BaseException) -> Any:
    def before(attempt: AnyAttempt) -> None:
        raise error

    return before


def test_a_hit_runs_nothing_and_writes_nothing(workspace: Workspace, toy: Toy) -> None:
    first = toy.execute(workspace)
    before = files_below(workspace.root)
    second = toy.execute(workspace)
    assert (first.cached, second.cached, toy.calls) == (False, True, 1)
    assert second.record == first.record
    assert files_below(workspace.root) == before


def test_a_hit_does_not_ask_where_the_inputs_are(workspace: Workspace, toy: Toy) -> None:
    from dataclasses import replace

    toy.execute(workspace)

    def resolve_inputs() -> dict[str, Any]:
        raise AssertionError("a hit must not look for inputs: it may open the network")

    assert toy.execute(workspace, replace(toy.plan(), resolve_inputs=resolve_inputs)).cached


def test_the_record_lists_exactly_what_is_in_out_by_relative_names(workspace: Workspace, toy: Toy) -> None:
    outcome = toy.execute(workspace)
    assert {entry.name: entry.bytes for entry in outcome.record.files} == {"folder/more.txt": 5, "text.txt": 15}
    assert str(workspace.root) not in (outcome.artifact.path / "record.json").read_text()
    assert not outcome.artifact.work.exists()


def test_the_record_says_what_was_asked(workspace: Workspace, toy: Toy) -> None:
    plan = toy.plan(text="so")
    outcome = toy.execute(workspace, plan)
    assert outcome.artifact.request() == {**plan.payload, "fingerprint": plan.fingerprint}
    assert outcome.record.fingerprint == plan.fingerprint
    assert outcome.record.recipe == {"text": "so", "times": 3}
    assert outcome.record.metrics == {"length": 6}


def test_equal_results_have_equal_digests_whatever_made_them(workspace: Workspace, toy: Toy) -> None:
    digests = [
        toy.execute(workspace, toy.plan(text=text, times=times)).record for text, times in (("aa", 2), ("aa", 2))
    ]
    other = toy.execute(workspace, toy.plan(text="ab", times=2)).record
    again = toy.execute(workspace, toy.plan(text="aa", times=2), restart=True).record
    assert digests[0].digest == digests[1].digest == again.digest != other.digest


def test_options_change_nothing(workspace: Workspace, toy: Toy) -> None:
    first = toy.execute(workspace, toy.plan(workers=1))
    second = toy.execute(workspace, toy.plan(workers=8))
    assert second.cached
    assert second.artifact == first.artifact


def test_another_recipe_is_another_artifact_and_leaves_the_first(workspace: Workspace, toy: Toy) -> None:
    first = toy.execute(workspace, toy.plan(text="one"))
    second = toy.execute(workspace, toy.plan(text="two"))
    assert first.artifact.path != second.artifact.path
    assert (text_of(first.artifact), text_of(second.artifact)) == ("oneoneone", "twotwotwo")
    assert toy.execute(workspace, toy.plan(text="one")).cached


def test_a_raised_version_is_not_a_hit(workspace: Workspace, toy: Toy) -> None:
    from dataclasses import replace

    toy.execute(workspace)
    toy.phase = replace(toy.phase, version=2)
    assert not toy.execute(workspace).cached


def test_restart_runs_again_in_the_same_place(workspace: Workspace, toy: Toy) -> None:
    first = toy.execute(workspace)
    second = toy.execute(workspace, restart=True)
    assert (second.cached, toy.calls, second.artifact) == (False, 2, first.artifact)


def test_the_pointer_moves_on_commit_and_on_a_hit(workspace: Workspace, toy: Toy) -> None:
    one, two = toy.plan(text="one"), toy.plan(text="two")
    pointers = []
    for plan in (one, two, one):
        toy.execute(workspace, plan)
        pointers.append(workspace.runs.get(RUN).slots["toy"])
    assert pointers == [plan.path(workspace) for plan in (one, two, one)]
    assert pointers[0] != pointers[1]
    assert toy.calls == 2


def test_another_slug_for_the_same_thing_is_a_hit(workspace: Workspace, toy: Toy) -> None:
    """A model may be known by another name; the name is in the folder's, the identity is not."""
    plan = toy.plan()
    first = toy.execute(workspace, plan)
    second = toy.execute(workspace, replace(plan, slug="another-name"))
    assert (second.cached, second.artifact, toy.calls) == (True, first.artifact, 1)


def test_pins_are_fixed_with_the_pointer_also_on_a_hit(workspace: Workspace, toy: Toy) -> None:
    toy.execute(workspace, toy.plan(pins={"preset": "one"}))
    assert toy.execute(workspace, toy.plan(pins={"preset": "two"})).cached
    assert workspace.runs.get(RUN).pins == {"preset": "two"}


def test_a_failure_leaves_its_reason_and_the_work_but_neither_record_nor_pointer(
    workspace: Workspace, toy: Toy
) -> None:
    toy.before = _raise(ConfigError("row 3 is odd", "look at it"))
    with pytest.raises(ConfigError):
        toy.execute(workspace)
    artifact = workspace.artifact(toy.plan().path(workspace))
    failure = artifact.failure()
    assert failure is not None
    assert (failure.code, failure.message, failure.hint) == ("ConfigError", "row 3 is odd", "look at it")
    assert artifact.record() is None
    assert (artifact.work / "checkpoint").read_text() == "half done"
    assert artifact.state() == "failed"
    run = workspace.runs.get(RUN)
    assert (run.slots, run.started) == ({}, {"toy": toy.plan().path(workspace)})


def test_a_bug_is_recorded_with_its_traceback_in_the_log(workspace: Workspace, toy: Toy) -> None:
    toy.before = _raise(ZeroDivisionError("nought"))
    with pytest.raises(ZeroDivisionError):
        toy.execute(workspace)
    artifact = workspace.artifact(toy.plan().path(workspace))
    failure = artifact.failure()
    assert failure is not None
    assert (failure.code, failure.message) == ("Bug", "ZeroDivisionError: nought")
    assert "Traceback" in (artifact.path / "log.txt").read_text()


def test_success_after_a_failure_removes_its_traces(workspace: Workspace, toy: Toy) -> None:
    toy.before = _raise(ValueError("once"))
    with pytest.raises(ValueError):
        toy.execute(workspace)
    toy.before = lambda attempt: None
    artifact = toy.execute(workspace).artifact
    assert artifact.failure() is None
    assert artifact.state() == "complete"
    assert [line["attempt"] for line in artifact.attempts()] == [1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stop")])
def test_an_interruption_leaves_work_and_nothing_else(workspace: Workspace, toy: Toy, error: BaseException) -> None:
    toy.before = _raise(error)
    with pytest.raises(Interrupted):
        toy.execute(workspace)
    artifact = workspace.artifact(toy.plan().path(workspace))
    assert (artifact.failure(), artifact.record()) == (None, None)
    assert artifact.state() == "partial"


def test_an_interruption_after_a_failure_is_no_failure(workspace: Workspace, toy: Toy) -> None:
    for error in (ValueError("once"), Interrupted("stop")):
        toy.before = _raise(error)
        with pytest.raises(type(error)):
            toy.execute(workspace)
    assert workspace.artifact(toy.plan().path(workspace)).state() == "partial"


def test_an_unfinished_result_of_an_earlier_attempt_is_not_in_the_next_one(workspace: Workspace, toy: Toy) -> None:
    def leave_something(attempt: AnyAttempt) -> None:
        (attempt.out / "stray").write_text("of the first attempt")
        raise ValueError("once")

    toy.before = leave_something
    with pytest.raises(ValueError):
        toy.execute(workspace)
    toy.before = lambda attempt: None
    assert not (toy.execute(workspace).artifact.out / "stray").exists()


def test_the_state_while_it_runs_is_running(workspace: Workspace, toy: Toy) -> None:
    seen = []
    toy.before = lambda attempt: seen.append(attempt.artifact.state())
    absent = workspace.artifact(toy.plan().path(workspace)).state()
    toy.execute(workspace)
    assert (absent, seen) == ("absent", ["running"])


def test_a_moved_workspace_is_still_a_hit(workspace: Workspace, toy: Toy, tmp_path: Path) -> None:
    toy.execute(workspace)
    workspace.root.rename(tmp_path / "elsewhere")
    moved = Workspace.open(tmp_path / "elsewhere")
    outcome = toy.execute(moved)
    assert outcome.cached
    outcome.artifact.check(file_sha256, RUN)


def test_a_copied_workspace_with_new_times_is_still_a_hit(workspace: Workspace, toy: Toy, tmp_path: Path) -> None:
    import shutil

    toy.execute(workspace)
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy, copy_function=shutil.copyfile)
    assert toy.execute(Workspace.open(copy)).cached


def test_a_result_whose_record_is_of_another_request_is_not_taken(workspace: Workspace, toy: Toy) -> None:
    """Two requests whose fingerprints share their first eight digits share a folder."""
    artifact = toy.execute(workspace).artifact
    path = artifact.path / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "f" * 64}))
    assert not toy.execute(workspace).cached


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"phase": "toy"}', "\udcff"])
def test_a_damaged_record_is_refused_by_name_and_mended_by_the_hint(
    workspace: Workspace, toy: Toy, content: str
) -> None:
    import subprocess

    artifact = toy.execute(workspace).artifact
    path = artifact.path / "record.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UpstreamError, match=r"record\.json") as caught:
        toy.execute(workspace)
    subprocess.run(caught.value.hint.split(": ")[1], shell=True, check=True)
    assert text_of(toy.execute(workspace).artifact) == "hellohellohello"


def _truncate(artifact: Artifact) -> None:
    (artifact.out / "text.txt").write_text("hel")


def _remove(artifact: Artifact) -> None:
    (artifact.out / "text.txt").unlink()


def _edit(artifact: Artifact) -> None:
    (artifact.out / "text.txt").write_text("HELLOhellohello")


@pytest.mark.parametrize("damage", [_truncate, _remove, _edit])
def test_a_damaged_result_is_refused_by_name_and_mended_by_restart(workspace: Workspace, toy: Toy, damage: Any) -> None:
    artifact = toy.execute(workspace).artifact
    damage(artifact)
    with pytest.raises(UpstreamError, match=r"text\.txt") as caught:
        toy.execute(workspace)
    assert "twinctl toy --run a-run --restart" in caught.value.hint
    assert text_of(toy.execute(workspace, restart=True).artifact) == "hellohellohello"


def test_an_edit_that_keeps_size_and_time_is_found(workspace: Workspace, toy: Toy) -> None:
    import os

    artifact = toy.execute(workspace).artifact
    path = artifact.out / "text.txt"
    stat = path.stat()
    path.write_text("HELLOhellohello")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    artifact.check(None, RUN)  # sizes alone
    for digest in (workspace.memo.sha256, file_sha256):
        with pytest.raises(UpstreamError, match=r"text\.txt"):
            artifact.check(digest, RUN)


def test_no_secret_reaches_a_file_through_an_error_or_the_command_line(
    workspace: Workspace, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"HF_TOKEN": "hf_" + "q" * 34, "COMET_API_KEY": "comet-" + "z" * 20}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["twinctl", "toy", *secrets.values()])
    toy.before = _raise(ConfigError(f"refused: {secrets['HF_TOKEN']}", f"not {secrets['COMET_API_KEY']}"))
    with pytest.raises(ConfigError):
        toy.execute(workspace)
    toy.before = _raise(ValueError(secrets["HF_TOKEN"]))
    with pytest.raises(ValueError):
        toy.execute(workspace)
    toy.before = lambda attempt: None
    toy.execute(workspace)
    leaks = {
        name
        for name, content in files_below(workspace.root).items()
        if any(value.encode() in content for value in secrets.values())
    }
    assert leaks == set()
