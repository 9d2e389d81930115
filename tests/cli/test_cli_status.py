"""status: what is there, in which state, and why stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import rows, write_rows
from twinctl.errors import EngineError
from twinctl.phases import train


def phases(cli: Cli) -> dict[str, dict[str, Any]]:
    """The current run's phases by slot."""
    (run,) = cli("status", "--json").ok().document["runs"]
    return {line["slot"]: line for line in run["phases"]}


def test_empty_folder_stays_empty(cli: Cli, home: Path) -> None:
    shown = cli("status").ok()
    assert shown.out == "nothing is prepared in .twinctl\n"
    assert "twinctl prepare" in shown.err
    assert cli("status", "--json").ok().document["runs"] == []
    assert list(home.iterdir()) == []


def test_complete(cli: Cli, trained: dict[str, Any]) -> None:
    found = phases(cli)
    assert {slot: line["state"] for slot, line in found.items()} == {"prepare": "complete", "train": "complete"}
    folder = Path(trained["path"]).parent
    assert found["train"]["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shown = cli("status").ok().out.splitlines()
    assert shown[0].startswith("run tiny (current)  ")
    assert [line.split()[:2] for line in shown[1:]] == [["prepare", "complete"], ["train", "complete"]]
    assert shown[2].endswith(folder.name)


def test_status_changes_nothing(cli: Cli, trained: dict[str, Any], home: Path) -> None:
    def seen() -> dict[str, bytes]:
        paths = [path for path in (home / ".twinctl").rglob("*") if path.is_file() and path.name != "digests.json"]
        return {str(path): path.read_bytes() for path in paths}

    before = seen()
    cli("status").ok()
    assert seen() == before


def test_changed_setting_makes_stale_field_by_field(cli: Cli, home: Path, trained: dict[str, Any]) -> None:
    (home / "twinctl.toml").write_text("[prepare]\nmax_length = 128\n[train]\nrank = 64\nalpha = 32\n")
    found = phases(cli)
    assert (found["prepare"]["state"], found["prepare"]["reasons"]) == ("stale", ["prepare.max_length 256 → 128"])
    assert (found["train"]["state"], found["train"]["reasons"]) == ("stale", ["train.rank 32 → 64"])
    assert "prepare: prepare.max_length 256 → 128" in cli("status").ok().out


def test_runtime_option_makes_nothing_stale(cli: Cli, home: Path, trained: dict[str, Any]) -> None:
    (home / "twinctl.toml").write_text("[train]\nmicro_batch = 1\nsave_every = 3\n")
    assert phases(cli)["train"]["state"] == "complete"
    assert cli("train", "--json").ok().document["cached"] is True


def test_value_given_as_a_flag_stands(cli: Cli, home: Path, prepared: object, fakes: None) -> None:
    cli("train", "--rank", "8").ok()
    (home / "twinctl.toml").write_text("[train]\nrank = 64\n")
    assert phases(cli)["train"]["state"] == "complete"


def test_prepare_with_other_rows_makes_train_stale(
    cli: Cli, home: Path, prepare: list[str], trained: dict[str, Any]
) -> None:
    write_rows(home / "posts.jsonl", rows(50))
    cli(*prepare).ok()
    found = phases(cli)
    assert found["prepare"]["state"] == "complete"
    assert found["train"]["reasons"] == ["prepare was rebuilt: its data or model changed"]
    cli("train").ok()
    assert phases(cli)["train"]["state"] == "complete"


def test_prepare_with_another_seed_makes_train_stale_by_the_field(
    cli: Cli, prepare: list[str], trained: dict[str, Any]
) -> None:
    cli(*prepare, "--seed", "5").ok()
    (reason,) = phases(cli)["train"]["reasons"]
    assert reason == "prepare was rebuilt: prepare.seed 0 → 5"


def test_failed_shows_the_message(cli: Cli, prepared: object, fakes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(_: object) -> None:
        raise EngineError("the GPU's memory ran out at step 3", "twinctl train --micro-batch 1")

    monkeypatch.setattr(train, "PHASE", replace(train.PHASE, run=out_of_memory))
    assert cli("train").code == 6
    line = phases(cli)["train"]
    assert (line["state"], line["failure"]) == ("failed", "the GPU's memory ran out at step 3")
    assert "train: the GPU's memory ran out at step 3" in cli("status").ok().out


def test_first_prepare_that_failed_is_shown(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", ["{"])
    cli(*prepare)
    shown = cli("status").ok().out
    assert shown.startswith("run tiny  ")
    assert "posts.jsonl:1 is not JSON" in shown


def test_run_that_lost_its_artifact(cli: Cli, prepare: list[str], prepared: dict[str, Any]) -> None:
    import shutil

    shutil.rmtree(Path(prepared["path"]).parent)
    assert phases(cli)["prepare"]["state"] == "absent"
    assert cli("train").code == 4
    assert cli(*prepare, "--json").ok().document["cached"] is False


def test_a_damaged_phase_is_said_so_and_the_others_are_shown(cli: Cli, trained: dict[str, Any]) -> None:
    record = Path(trained["path"]).parent / "record.json"
    record.write_text(record.read_text()[:50])
    found = phases(cli)
    assert {slot: line["state"] for slot, line in found.items()} == {"prepare": "complete", "train": "damaged"}
    assert str(record) in found["train"]["failure"]


def test_other_data_in_the_settings_makes_stale(cli: Cli, home: Path, prepare: list[str]) -> None:
    config = home / "twinctl.toml"
    config.write_text('[prepare]\ndata = ["posts.jsonl"]\n')
    without_data = prepare[: prepare.index("-d")]
    cli(*without_data).ok()
    assert phases(cli)["prepare"]["reasons"] == []
    config.write_text('[prepare]\ndata = ["other.jsonl"]\n')
    assert phases(cli)["prepare"]["reasons"] == ['prepare.data ["posts.jsonl"] → ["other.jsonl"]']


def test_other_data_in_tables_shows_what_was_said_and_no_more(cli: Cli, home: Path, prepare: list[str]) -> None:
    config = home / "twinctl.toml"
    config.write_text('[[prepare.data]]\nsource = "posts.jsonl"\nweight = 2\n[[prepare.data]]\nsource = "bay.jsonl"\n')
    write_rows(home / "bay.jsonl", rows(3, "bay"))
    cli(*prepare[: prepare.index("-d")]).ok()
    assert phases(cli)["prepare"]["reasons"] == []
    config.write_text('[[prepare.data]]\nsource = "posts.jsonl"\nweight = 3\n')
    before, after = '{"source": "posts.jsonl", "weight": 2.0}, "bay.jsonl"', '{"source": "posts.jsonl", "weight": 3.0}'
    assert phases(cli)["prepare"]["reasons"] == [f"prepare.data [{before}] → [{after}]"]


@pytest.mark.parametrize("variable", ["TWINCTL_PREPARE_MAX_LENGHT", "TWINCTL_TRAIN_RNAK"])
def test_a_mistyped_variable_is_said_so(cli: Cli, trained: dict[str, Any], monkeypatch: Any, variable: str) -> None:
    monkeypatch.setenv(variable, "64")
    shown = cli("status")
    assert shown.code == 3
    assert variable in shown.err
    assert "did you mean" in shown.err
