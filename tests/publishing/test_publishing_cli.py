"""`twinctl card`, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.written_records import RecordedRun
from twinctl.cli.app import app


@pytest.fixture
def workspace_path(recorded_run: RecordedRun) -> str:
    recorded_run.make()
    return str(recorded_run.root)


def cli(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="twinctl")


def test_it_prints_what_push_would_send(workspace_path: str, recorded_run: RecordedRun) -> None:
    done = cli("card", "me/my-twin", "-w", workspace_path)
    assert done.exit_code == 0 and done.stdout == recorded_run.card("model").text
    assert (
        cli("card", "-w", workspace_path, "--gguf", "--no-sample").stdout
        == recorded_run.card("gguf", None, sample=False).text
    )


def test_it_writes_the_card_with_its_pictures_beside_it(
    workspace_path: str, recorded_run: RecordedRun, tmp_path: Path
) -> None:
    done = cli("card", "me/my-twin", "--adapter", "-w", workspace_path, "-o", tmp_path / "README.md")
    assert done.stdout.split() == [str(tmp_path / "README.md"), str(tmp_path / "loss_curve.png")]
    card = recorded_run.card("adapter")
    assert (tmp_path / "README.md").read_text() == card.text
    assert (tmp_path / "loss_curve.png").read_bytes() == card.files["loss_curve.png"]


def test_json_is_one_document(workspace_path: str) -> None:
    found = json.loads(cli("card", "--gguf", "-w", workspace_path, "--json").stdout)
    assert (found["command"], found["kind"], found["run"], found["repo"]) == ("card", "gguf", "me", None)
    assert found["files"] == ["loss_curve.png", "params", "template"] and found["text"].startswith("---\n")


def test_what_cannot_be_is_said(workspace_path: str, tmp_path: Path) -> None:
    assert cli("card", "--gguf", "--adapter", "-w", workspace_path).exit_code == 2
    assert cli("card", "not a name", "-w", workspace_path).exit_code == 2
    assert cli("card", "-w", tmp_path / "nothing").exit_code == 4
