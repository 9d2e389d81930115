"""The workspace's folder: a newer layout is refused, and so is a place that cannot hold one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.toy_phase import Toy, files_below
from twinctl.errors import ConfigError, UpstreamError
from twinctl.workspace import workspace as workspace_module
from twinctl.workspace.workspace import Workspace


def test_looking_at_a_workspace_makes_nothing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "none")
    assert workspace.runs.names() == []
    assert workspace.runs.current() is None
    assert workspace.artifact("toy/none").state() == "absent"
    with pytest.raises(UpstreamError, match="nothing is prepared") as caught:
        workspace.run(None)
    assert "twinctl prepare" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_newer_layout_is_refused_and_left_alone(workspace: Workspace) -> None:
    (workspace.root / "workspace.json").write_text(json.dumps({"layout": 2, "more": "of it"}))
    before = files_below(workspace.root)
    with pytest.raises(UpstreamError, match="layout 2") as caught:
        Workspace.open(workspace.root)
    assert "update twinctl" in caught.value.hint
    assert files_below(workspace.root) == before


def test_making_it_twice_changes_nothing(workspace: Workspace) -> None:
    before = files_below(workspace.root)
    Workspace.open(workspace.root).create()
    assert files_below(workspace.root) == before == {"workspace.json": b'{\n  "layout": 1\n}\n'}


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_place_that_cannot_be_written_is_refused_with_the_option_that_chooses_another(
    tmp_path: Path, toy: Toy, place: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot make a workspace in") as caught:
        toy.execute(Workspace.open(tmp_path / place))
    assert "--workspace" in caught.value.hint
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_file_system_whose_locks_do_not_exclude_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_module, "_TRY_LOCK", "pass")  # the second process gets it too
    with pytest.raises(ConfigError, match="does not keep locks"):
        Workspace.open(tmp_path / "w").create()
    assert not (tmp_path / "w" / "workspace.json").exists()
