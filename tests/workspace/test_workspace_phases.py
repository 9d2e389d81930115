"""A new phase is a file of its own and one line in the table: nothing else changes.

Two that the project does not have, each making the kind that it builds on: toy_filter between prepare and train,
toy_align after train. Whoever needs tokens or an adapter takes theirs, and every command that looks shows them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy_align, toy_filter
from tests.support.desk import PREPARE, Desk, copied, fake_phases, lay_out
from tests.support.toy_align import AlignRecipe
from tests.support.toy_filter import FilterRecipe
from twinctl.chat.model_files import base_files, twin_files
from twinctl.config.export import MergeRecipe
from twinctl.phases import TABLE, merge, phase
from twinctl.pipeline.event import Event
from twinctl.pipeline.execute import Outcome, execute
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.memo import file_sha256

SLOTS = ["prepare", "filter", "train", "align"]
IN_WORKER = """
from twinctl.phases import TABLE
TABLE["align"] = "tests.support.toy_align"
"""


@pytest.fixture(scope="module", autouse=True)
def four_phase_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A run with all four, made with the toys in the table and without a worker."""
    with pytest.MonkeyPatch.context() as patch:
        fake_phases(patch)
        patch.setitem(TABLE, "filter", "tests.support.toy_filter")
        patch.setitem(TABLE, "align", "tests.support.toy_align")
        desk = lay_out(tmp_path_factory.mktemp("made"))
        desk.type(PREPARE).ok()
        with patch.context() as here:
            here.setattr(toy_align, "PHASE", replace(toy_align.PHASE, in_worker=False))
            run_filter(desk)
            desk.type("train").ok()
            run_align(desk)
        yield desk


@pytest.fixture
def desk(four_phase_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that the test may change."""
    monkeypatch.setattr(toy_align, "PHASE", replace(toy_align.PHASE, in_worker=False))
    return copied(four_phase_desk, tmp_path / "desk")


def run_filter(desk: Desk, without: str = "nothing", run_name: str | None = None) -> Outcome:
    """As a command `twinctl filter` would."""
    run = desk.workspace.run(run_name)
    plan = toy_filter.plan(RunView(desk.workspace, run), FilterRecipe(without=without))
    return execute(desk.workspace, run.name, plan, watch=lambda event: None)


def run_align(desk: Desk, beta: float = 0.1, run_name: str | None = None, watch: Any = lambda event: None) -> Outcome:
    """As a command `twinctl align` would."""
    run = desk.workspace.run(run_name)
    plan = toy_align.plan(RunView(desk.workspace, run), AlignRecipe(beta=beta))
    return execute(desk.workspace, run.name, plan, watch=watch)


def lines(desk: Desk) -> dict[str, dict[str, Any]]:
    """What status says, by slot."""
    (run,) = desk.ask("status")["runs"]
    return {line["slot"]: line for line in run["phases"]}


def test_each_phase_takes_the_newest_link_of_the_chain(desk: Desk) -> None:
    run, workspace = desk.workspace.run(None), desk.workspace
    assert list(run.slots) == SLOTS
    found = {slot: workspace.artifact(path).record() for slot, path in run.slots.items()}
    parents = {slot: dict(record.parents) for slot, record in found.items() if record}
    assert parents == {
        "prepare": {},
        "filter": {"tokens": run.slots["prepare"]},
        "train": {"tokens": run.slots["filter"]},
        "align": {"adapter": run.slots["train"]},
    }
    assert found["train"] and found["filter"]
    assert found["train"].inputs["tokens"] == found["filter"].digest


def test_a_phase_that_makes_what_it_builds_on_does_not_build_on_itself(desk: Desk) -> None:
    first = desk.workspace.run(None).slots
    assert run_filter(desk).cached
    assert run_align(desk).cached
    assert desk.workspace.run(None).slots == first
    for name in ("a", "b"):
        outcome = run_filter(desk, without=name)
        assert dict(outcome.record.parents) == {"tokens": first["prepare"]}


def test_before_a_slot_is_what_was_there_without_it(desk: Desk) -> None:
    workspace = desk.workspace
    run = workspace.run(None)
    view = RunView(workspace, run)
    seen = {
        (kind, before): (found := view.find(Kind(kind), before=before)) and found.slot
        for kind, before in (("tokens", None), ("tokens", "filter"), ("tokens", "prepare"), ("adapter", "align"))
    }
    assert seen == {
        ("tokens", None): "filter",
        ("tokens", "filter"): "prepare",
        ("tokens", "prepare"): None,
        ("adapter", "align"): "train",
    }
    assert view.find(Kind.ADAPTER, before="filter") is None  # made from it, however far down


def test_chat_export_and_merge_take_the_aligned_adapter(desk: Desk) -> None:
    workspace = desk.workspace
    run = workspace.run(None)
    view = RunView(workspace, run)
    trained = view.trained()
    path, artifact, record = trained.path, trained.artifact, trained.record
    assert (path, record.slot) == (run.slots["align"], "align")
    assert trained.made_from(Kind.TOKENS).slot == "filter"
    plan = merge.plan(view, MergeRecipe())
    assert (dict(plan.parents), plan.inputs["adapter"]) == ({"adapter": path}, record.digest)
    assert plan.resolve_inputs().adapter == artifact.out.resolve()
    assert desk.ask("export --adapter")["path"] == str(Path(".twinctl/artifacts", path, "out"))
    assert desk.ask("export --gguf")["cached"] is False
    assert desk.states() == dict.fromkeys([*SLOTS, "merge", "gguf-q4_k_m"], "complete")


def test_chat_finds_its_files_behind_a_filter(desk: Desk) -> None:
    workspace = desk.workspace
    run = workspace.run(None)
    view = RunView(workspace, run)
    found = twin_files(view)
    assert (found.adapter, found.max_length) == (desk.out("align"), 256)
    assert base_files(view).max_length == 256


def test_every_kind_is_made_by_the_command_of_a_phase_that_says_so() -> None:
    makers = {phase(name).makes[0]: phase(name).command for name in reversed(TABLE) if phase(name).makes}
    assert {kind.value: kind.command for kind in Kind} == makers


def test_every_command_that_looks_shows_them(desk: Desk) -> None:
    shown = desk.type("status --verify").ok().out.splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [[slot, "complete"] for slot in SLOTS]
    assert "aligned.txt" in desk.type("inspect align").ok().out
    (found,) = desk.ask("inspect filter")["phases"]
    assert (found["state"], found["record"]["recipe"]) == ("complete", {"without": "nothing"})
    assert desk.ask("path")["paths"] == {
        "tokens": str(desk.out("filter").resolve()),
        "adapter": str(desk.out("align").resolve()),
    }
    assert desk.type("runs").ok().out.splitlines()[1].count("prepare, filter, train, align") == 1


def test_diff_shows_their_fields(desk: Desk) -> None:
    desk.type(PREPARE, "--run other").ok()
    run_filter(desk, without="verse", run_name="other")
    shown = desk.type("diff tiny other").ok().out
    assert ["filter.recipe.without", "nothing", "verse"] in [line.split() for line in shown.splitlines()]
    assert ["align.recipe.beta", "0.1", "–"] in [line.split() for line in shown.splitlines()]


def test_prepare_anew_makes_all_of_them_stale_with_the_reason_and_the_command(desk: Desk) -> None:
    desk.type(PREPARE, "--seed 5").ok()
    found = lines(desk)
    assert {slot: line["state"] for slot, line in found.items()} == {"prepare": "complete"} | dict.fromkeys(
        SLOTS[1:], "stale"
    )
    for slot in SLOTS[1:]:
        assert found[slot]["reasons"] == ["prepare was rebuilt: prepare.seed 0 → 5"]
        assert found[slot]["type"] == f"twinctl {slot} --run tiny"


def test_what_is_typed_one_after_the_other_mends_the_chain(desk: Desk) -> None:
    desk.type(PREPARE, "--seed 5").ok()
    run_filter(desk)
    desk.type("train --rank 4").ok()
    run_align(desk)
    assert desk.states("--verify") == dict.fromkeys(SLOTS, "complete")
    run = desk.workspace.run(None)
    adapter = RunView(desk.workspace, run).need(Kind.ADAPTER)
    assert (adapter.path, adapter.made_from(Kind.TOKENS).path) == (run.slots["align"], run.slots["filter"])


def test_a_link_that_comes_to_the_same_by_another_way_makes_nothing_after_it_stale(desk: Desk) -> None:
    """The fake training makes the same adapter of any tokens: so the aligned one is a hit, and stays the newest."""
    desk.type(PREPARE, "--seed 5").ok()
    assert not run_filter(desk).cached
    assert desk.ask("train")["cached"] is False
    assert run_align(desk).cached
    assert desk.states() == dict.fromkeys(SLOTS, "complete")
    assert RunView(desk.workspace, desk.workspace.run(None)).trained().slot == "align"


def test_a_link_in_the_middle_made_anew_makes_stale_what_comes_after_it_only(desk: Desk) -> None:
    run_filter(desk, without="verse")
    found = lines(desk)
    assert {slot: line["state"] for slot, line in found.items()} == {
        "prepare": "complete",
        "filter": "complete",
        "train": "stale",
        "align": "stale",
    }
    assert found["align"]["reasons"] == ["filter was rebuilt: filter.without nothing → verse"]


def test_a_new_version_of_a_phase_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_filter, "PHASE", replace(toy_filter.PHASE, version=2))
    assert lines(desk)["filter"]["reasons"] == ["twinctl's filter 1 → 2"]
    assert not run_filter(desk).cached


def test_without_their_line_in_the_table_they_are_still_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLE, "align")
    assert desk.states() == dict.fromkeys(SLOTS, "complete")
    assert RunView(desk.workspace, desk.workspace.run(None)).trained().slot == "align"


@pytest.fixture
def worker_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own table has the line, too, and its Python finds the module."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(IN_WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path(__file__).parents[2])]))
    monkeypatch.setattr(toy_align, "PHASE", replace(toy_align.PHASE, in_worker=True))


def test_a_real_worker_runs_it(desk: Desk, worker_knows: None) -> None:
    seen: list[Event] = []
    outcome = run_align(desk, beta=0.5, watch=seen.append)
    assert outcome.cached is False
    assert outcome.record.metrics["worker"] not in (0, os.getpid())
    assert [event.kind for event in seen] == ["stage", "attempt", "step"]
    outcome.artifact.check(file_sha256, "tiny")
    assert desk.workspace.run(None).slots["align"] == f"align/{outcome.artifact.path.name}"
    assert run_align(desk, beta=0.5).cached
    assert desk.states() == dict.fromkeys(SLOTS, "complete")


def test_a_second_run_that_only_watches_the_worker_has_its_result_too(
    desk: Desk, worker_knows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("TOY_GATE", str(gate))
    for words in (f"{PREPARE} --run other", "train --run other", "runs use tiny"):
        desk.type(words).ok()
    run = desk.workspace.run("other")
    plan = toy_align.plan(RunView(desk.workspace, run), AlignRecipe(beta=0.7))
    folder = desk.workspace.artifact(plan.path(desk.workspace)).path
    child = os.fork()
    if child == 0:
        try:
            execute(desk.workspace, "other", plan, watch=lambda event: None)
        finally:
            os._exit(0)
    until = time.monotonic() + 30
    while not any(event["event"] == "step" for event in Artifact(folder).events()):
        assert time.monotonic() < until
        time.sleep(0.02)
    seen: list[str] = []

    def watch(event: Event) -> None:
        seen.append(event.kind)
        gate.touch()

    outcome = execute(desk.workspace, "tiny", plan, watch=watch)
    os.waitpid(child, 0)
    assert seen[0] == "attached"
    pointers = {name: desk.workspace.run(name).slots["align"] for name in ("tiny", "other")}
    assert pointers == dict.fromkeys(("tiny", "other"), f"align/{outcome.artifact.path.name}")
