"""Whatever moment the work ends at, the artifact is complete and right or not complete, and the same call mends it.

Two ways to end: a child process that dies just before its n-th change on disk, as by kill -9; and the n-th change
failing, as on a full disk, so that the handlers run too. Both for every n.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kills import MOST, EndsAt, dies_at, fails_at
from tests.support.toy_phase import RUN, Toy, text_of
from twinctl.pipeline.phase import AnyPlan
from twinctl.workspace.lock import is_locked
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.workspace import Workspace


def _check_whole_or_absent(workspace: Workspace, plan: AnyPlan, text: str) -> None:
    artifact = workspace.artifact(plan.path(workspace))
    assert not is_locked(artifact.path)
    if artifact.record() is None:
        assert artifact.state() != "complete"
    else:
        artifact.check(file_sha256, RUN)
        assert text_of(artifact) == text


def _check_same_call_succeeds(workspace: Workspace, toy: Toy, plan: AnyPlan, text: str) -> None:
    outcome = toy.execute(workspace, plan)
    outcome.artifact.check(file_sha256, RUN)
    assert text_of(outcome.artifact) == text
    assert workspace.runs.get(RUN).slots["toy"] == plan.path(workspace)
    assert outcome.artifact.state() == "complete"
    assert toy.execute(workspace, plan).cached


@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_work_that_ends_at_any_change_is_whole_or_absent(workspace: Workspace, toy: Toy, ends_at: EndsAt) -> None:
    for point in range(1, MOST):
        plan = toy.plan(text=f"text {point}", times=1)
        ended = ends_at(point, lambda plan=plan: toy.execute(workspace, plan))
        _check_whole_or_absent(workspace, plan, f"text {point}")
        _check_same_call_succeeds(workspace, toy, plan, f"text {point}")
        if not ended:
            break
    assert 30 < point < MOST - 1  # every change was met


@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_a_restart_that_ends_at_any_change_is_whole_or_absent(workspace: Workspace, toy: Toy, ends_at: EndsAt) -> None:
    for point in range(1, MOST):
        toy.execute(workspace)
        ended = ends_at(point, lambda: toy.execute(workspace, restart=True))
        _check_whole_or_absent(workspace, toy.plan(), "hellohellohello")
        _check_same_call_succeeds(workspace, toy, toy.plan(), "hellohellohello")
        if not ended:
            break
    assert 30 < point < MOST - 1


@pytest.mark.parametrize("ends_at", [dies_at, fails_at])
def test_a_workspace_whose_making_ends_at_any_change_is_made_by_the_next_call(
    tmp_path: Path, toy: Toy, ends_at: EndsAt
) -> None:
    for point in range(1, MOST):
        root = tmp_path / str(point)
        ended = ends_at(point, lambda root=root: Workspace.open(root).create())
        Workspace.open(root).create()
        assert not toy.execute(Workspace.open(root)).cached
        if not ended:
            break
    assert 5 < point < MOST - 1
