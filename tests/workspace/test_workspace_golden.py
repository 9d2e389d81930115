"""A workspace that an earlier twinctl wrote is read by this one: every command that looks works on it.

golden/workspace is real: the bundled model, 24 of the author's rows, one step of training of an adapter of rank 1 on
q_proj alone (so it is small). golden/make.py made it. What is not promised here is a cache hit: versions and recipes
move on, and then these results are stale, with the reason, but still there.
"""

from __future__ import annotations

import json
import shlex
import shutil
import socket
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import Desk
from twinctl.cli.watch import event_text
from twinctl.errors import UpstreamError
from twinctl.phases import phase
from twinctl.phases import prepare as prepare_module
from twinctl.phases import train as train_module
from twinctl.pipeline.event import Event
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.memo import file_sha256

GOLDEN = Path(__file__).parent / "golden"
SLOTS = {"prepare": "tokens", "train": "adapter"}
REQUIRED = [item.name for item in fields(Record) if item.name != "about"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk that the test may change."""
    shutil.copytree(GOLDEN / "workspace", tmp_path / ".twinctl")
    for name in ("rows.jsonl", "twinctl.toml"):
        shutil.copy(GOLDEN / name, tmp_path)
    return Desk(tmp_path)


@pytest.fixture
def of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phases at the versions by which the golden workspace was made."""
    made = Desk(GOLDEN).path / "workspace" / "artifacts"
    for module in (prepare_module, train_module):
        (path,) = made.glob(f"{module.PHASE.name}/*/record.json")
        version = json.loads(path.read_text())["version"]
        monkeypatch.setattr(module, "PHASE", replace(module.PHASE, version=version))


def artifacts(desk: Desk) -> dict[str, Artifact]:
    """The golden results by slot."""
    slots = desk.workspace.run("tiny").slots
    return {slot: desk.workspace.artifact(path) for slot, path in slots.items()}


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change a JSON file's object in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_it_is_small_and_tells_nothing_of_the_machine_it_was_made_on() -> None:
    files = [path for path in (GOLDEN / "workspace").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    told = [path for path in files if path.suffix in (".json", ".jsonl", ".txt") and path.name != "tokenizer.json"]
    texts = {path: path.read_text(encoding="utf-8") for path in told}
    here = [str(Path(__file__).parents[2]), str(Path.home()), "/tmp/", f'"{socket.gethostname()}"']
    assert [path for path, text in texts.items() if any(word in text for word in here)] == []
    assert len(told) > 10


def test_status_shows_what_is_there(desk: Desk, of_its_time: None) -> None:
    (run,) = desk.ask("status")["runs"]
    assert (run["run"], run["current"]) == ("tiny", True)
    found = {line["slot"]: (line["state"], line["reasons"], line["failure"]) for line in run["phases"]}
    assert found == {slot: ("complete", [], None) for slot in SLOTS}
    lines = desk.type("status").ok().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[slot, "complete"] for slot in SLOTS]


def test_every_byte_is_what_was_written(desk: Desk, of_its_time: None) -> None:
    assert desk.type("status --verify").ok().out.count("complete") == len(SLOTS)
    for artifact in artifacts(desk).values():
        artifact.check(file_sha256, "tiny")
        record = artifact.record()
        assert record is not None
        assert {entry.name for entry in record.files} == {path.name for path in artifact.out.iterdir()}


@pytest.mark.parametrize("slot", SLOTS)
def test_a_newer_version_of_a_phase_makes_it_stale_and_says_so(
    desk: Desk, of_its_time: None, monkeypatch: pytest.MonkeyPatch, slot: str
) -> None:
    module = {"prepare": prepare_module, "train": train_module}[slot]
    now = module.PHASE.version + 1
    monkeypatch.setattr(module, "PHASE", replace(module.PHASE, version=now))
    (run,) = desk.ask("status")["runs"]
    found = {line["slot"]: line for line in run["phases"]}
    assert found[slot]["reasons"] == [f"twinctl's {slot} {now - 1} → {now}"]
    assert found[slot]["state"] == "stale"
    assert found[slot]["type"].startswith(f"twinctl {slot} ")
    assert [line["state"] for name, line in found.items() if name != slot] == ["complete"]


def test_a_phase_that_this_version_does_not_know_is_shown_all_the_same(desk: Desk, of_its_time: None) -> None:
    old = artifacts(desk)["train"].path
    new = old.parent.parent / "align" / "aligned-12345678"
    shutil.copytree(old, new)
    parents = {"adapter": str(old.relative_to(old.parents[1]))}
    edit(new / "record.json", lambda record: record.update(phase="align", slot="align", parents=parents, version=7))
    edit(desk.path / ".twinctl/runs/tiny.json", lambda run: run["slots"].update(align="align/aligned-12345678"))
    edit(desk.path / ".twinctl/runs/tiny.json", lambda run: run["started"].update(align="align/aligned-12345678"))
    assert desk.states() == {"prepare": "complete", "train": "complete", "align": "complete"}
    assert "align: complete" in desk.type("inspect align").ok().out
    assert desk.type("path adapter").ok().out == f"{new.resolve()}/out\n"


@pytest.mark.parametrize("slot", SLOTS)
def test_inspect_shows_recipe_attempts_metrics_and_files(desk: Desk, slot: str) -> None:
    stored = json.loads((artifacts(desk)[slot].path / "record.json").read_text())
    (found,) = desk.ask("inspect", slot)["phases"]
    assert (found["slot"], found["state"], found["record"]) == (slot, "complete", stored)
    assert found["request"]["recipe"] == stored["recipe"]
    assert (found["attempts"][0]["attempt"], found["attempts"][0]["host"]) == (1, "golden")
    shown = desk.type("inspect", slot).ok().out
    titles = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert titles[1:] == ["recipe", "inputs", "attempts", "metrics", "files"]
    words = shown.split()
    assert [entry["name"] for entry in stored["files"] if entry["name"] not in words] == []
    assert [name for name in (*stored["recipe"], *stored["metrics"]) if name not in words] == []


def test_samples_of_tokens_that_cannot_be_trained_on_any_more_are_refused_with_the_mend(desk: Desk) -> None:
    for words in ("inspect prepare --rows 3", "inspect prepare --grep the"):
        error = desk.refused(words, code=4)
        assert ("older twinctl" in error["message"], "twinctl prepare" in error["hint"]) == (True, True)
    assert desk.ask("inspect prepare --dropped all")["dropped"] == []  # it kept none


def test_runs_and_path_find_everything(desk: Desk) -> None:
    (row,) = desk.ask("runs")["runs"]
    assert (row["name"], row["current"], list(row["slots"])) == ("tiny", True, list(SLOTS))
    assert desk.type("runs").ok().out.splitlines()[1].split()[:3] == ["*", "tiny", "bundled:base"]
    places = {kind: str(artifacts(desk)[slot].out.resolve()) for slot, kind in SLOTS.items()}
    assert desk.ask("path")["paths"] == places
    assert {kind: desk.type("path", kind).ok().out.strip() for kind in places} == places


def test_later_phases_find_what_they_build_on(desk: Desk) -> None:
    workspace = desk.workspace
    run = workspace.run(None)
    view = RunView(workspace, run)
    trained = view.trained()
    path, record = trained.path, trained.record
    assert (path, record.slot) == (run.slots["train"], "train")
    assert trained.made_from(Kind.TOKENS).path == view.need(Kind.TOKENS).path == run.slots["prepare"]


def test_a_run_that_is_prepared_now_stands_beside_it_and_differs_in_what_was_asked(desk: Desk) -> None:
    before = {name: content for name, content in desk.files().items() if "/artifacts/" in name}
    desk.type("prepare -d rows.jsonl --general 0 --max-length 128 --run short").ok()
    assert desk.type("diff tiny tiny").ok().out == "tiny and tiny are the same\n"
    found = {line["name"]: line["values"] for line in desk.ask("diff tiny short")["differences"]}
    assert found["prepare.recipe.max_length"] == [256, 128]
    assert found["train.recipe.rank"] == [1, None]
    after = desk.files()
    assert {name: after[name] for name in before} == before


def test_its_events_are_told_as_a_log(desk: Desk) -> None:
    told: dict[str, list[str]] = {}
    for slot, artifact in artifacts(desk).items():
        events = list(artifact.events())
        assert all(event["time"] > 0 for event in events)
        told[slot] = [text for event in events if (text := event_text(Event.of(event)))]
    assert told["prepare"][-2:] == ["reading rows.jsonl", "24 rows"]
    assert any(line.startswith("step 1/1  loss 2.1590") for line in told["train"])
    assert "checkpoint of step 1" in told["train"]
    shown = desk.type("logs train").ok().out
    assert [line for line in told["train"] if line not in shown] == []


def test_edited_rows_are_seen_where_the_run_was_prepared(desk: Desk, of_its_time: None) -> None:
    rows = desk.path / "rows.jsonl"
    edit(desk.path / ".twinctl/runs/tiny.json", lambda run: run["pins"]["sources"][0].update(path=str(rows)))
    assert desk.states()["prepare"] == "complete"
    rows.write_text(rows.read_text().replace("a", "o", 1))
    assert desk.states()["prepare"] == "stale"
    assert "rows.jsonl changed" in desk.type("status").ok().out


def test_a_field_that_a_newer_version_added_to_the_record_is_passed_over(desk: Desk, of_its_time: None) -> None:
    for artifact in artifacts(desk).values():
        edit(artifact.path / "record.json", lambda record: record.update(signature={"by": "twinctl 9"}))
    assert desk.states("--verify") == dict.fromkeys(SLOTS, "complete")
    assert RunView(desk.workspace, desk.workspace.run(None)).trained().kind == "adapter"


def test_a_record_without_the_newest_field_is_read(desk: Desk, of_its_time: None) -> None:
    """`about` was added after the first records were written."""
    for artifact in artifacts(desk).values():
        edit(artifact.path / "record.json", lambda record: record.pop("about"))
    assert desk.states() == dict.fromkeys(SLOTS, "complete")
    assert desk.ask("inspect train")["phases"][0]["record"]["about"] == {}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_record_that_lacks_a_field_is_refused_by_name_and_mended_by_the_hint(desk: Desk, name: str) -> None:
    path = edit(artifacts(desk)["train"].path / "record.json", lambda record: record.pop(name))
    error = desk.refused("path adapter", code=4)
    assert str(path.relative_to(desk.path)) in error["message"]
    assert name in error["message"]
    (_, old, new) = shlex.split(error["hint"].split(": ", 1)[1])
    (desk.path / old).rename(desk.path / new)
    assert desk.states()["train"] != "damaged"


def test_a_damaged_record_is_one_line_of_status_and_the_rest_is_shown(desk: Desk, of_its_time: None) -> None:
    path = edit(artifacts(desk)["train"].path / "record.json", lambda record: record.pop("digest"))
    (run,) = desk.ask("status")["runs"]
    found = {line["slot"]: line for line in run["phases"]}
    assert (found["prepare"]["state"], found["train"]["state"]) == ("complete", "damaged")
    assert str(path.relative_to(desk.path)) in found["train"]["failure"]


@pytest.mark.parametrize("words", ["status", "inspect train", "runs", "path", "prepare -d rows.jsonl", "train"])
def test_a_layout_of_the_future_is_refused_and_left_alone(desk: Desk, words: str) -> None:
    edit(desk.path / ".twinctl/workspace.json", lambda marker: marker.update(layout=2))
    before = desk.files()
    error = desk.refused(words, code=4)
    assert (error["code"], "layout 2" in error["message"]) == (UpstreamError.__name__, True)
    assert "update twinctl" in error["hint"]
    assert desk.files() == before


def test_the_phases_of_today_are_those_it_was_made_by(desk: Desk) -> None:
    """A phase that is given another name leaves every old result behind: then this test says so."""
    assert {slot: phase(slot).command for slot in artifacts(desk)} == {"prepare": "prepare", "train": "train"}
