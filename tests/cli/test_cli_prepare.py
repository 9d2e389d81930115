"""prepare: what it shows, what it keeps, and when it works again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import rows, write_rows

METRICS = {
    "rows_read",
    "rows_kept",
    "rows_dropped",
    "train_rows",
    "eval_rows",
    "tokens",
    "trained_tokens",
    "longest",
    "packed_rows",
    "packing_efficiency",
    "cleaned",
    "shapes",
}


def test_people_see_what_was_kept_and_dropped(cli: Cli, home: Path, prepare: list[str]) -> None:
    bad = [{"instruction": "", "output": "b"}, {"instruction": "c", "output": "d " * 400}, *rows(1)]
    write_rows(home / "posts.jsonl", [*rows(20), *bad])
    shown = cli(*prepare).ok()
    assert "prepare: done  .twinctl/artifacts/prepare/" in shown.out
    figures = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.out.splitlines()[1:]}
    assert figures["read"] == "23 rows: 22 instruction"
    assert figures["dropped"] == "1 duplicate, 1 empty instruction, 1 over max length"
    held_out = int(figures["samples"].split()[4])
    assert figures["samples"] == f"{20 - held_out} to train on, {held_out} held out"
    assert "100% the author's" in figures["tokens"]
    assert list(figures) == ["read", "dropped", "samples", "tokens", "packed", "training"]
    assert "next: twinctl inspect prepare --rows 5, then twinctl train" in shown.err
    assert "reading posts.jsonl" in shown.err


def test_scripts_get_the_metrics(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", [*rows(40), {"instruction": "a", "output": " "}])
    document = cli(*prepare, "--json").ok().document
    metrics = document.pop("metrics")
    assert set(metrics) >= METRICS
    assert metrics["rows_read"] == 41
    assert metrics["rows_kept"] == metrics["train_rows"] + metrics["eval_rows"] == 40
    assert metrics["rows_dropped"] == {"empty output": 1}
    assert 0 < metrics["trained_tokens"] < metrics["tokens"]
    assert Path(document["path"], "train.arrow").is_file()
    assert len(document.pop("fingerprint")) == 64
    assert document.pop("path")
    common = {"schema": 1, "command": "prepare", "phase": "prepare", "state": "complete"}
    steps = -(-metrics["packed_rows"] // 4)
    training = {"steps": 3 * steps, "steps_per_epoch": steps, "batch_size": 4}
    (warning,) = document.pop("warnings")
    assert "warm-up" in warning
    assert document == {**common, "cached": False, "training": training}


def test_second_time_is_a_hit_that_reads_no_row(
    cli: Cli, prepare: list[str], prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinctl.data.preparation.read_rows", lambda *_, **__: pytest.fail("rows were read"))
    monkeypatch.setattr("twinctl.data.tokenizer.TextTokenizer.load", lambda *_: pytest.fail("the tokenizer was loaded"))
    assert cli(*prepare, "--json").ok().document == {**prepared, "cached": True}
    assert "already done (cached)" in cli(*prepare).ok().out


def test_restart_does_it_again(cli: Cli, prepare: list[str], prepared: dict[str, Any]) -> None:
    assert cli(*prepare, "--restart", "--json").ok().document == prepared


def test_content_and_not_name_decides(cli: Cli, home: Path, prepare: list[str], prepared: dict[str, Any]) -> None:
    (home / "posts.jsonl").rename(home / "renamed.jsonl")
    again = cli(*prepare[:-1], "renamed.jsonl", "--json").ok().document
    assert (again["cached"], again["fingerprint"]) == (True, prepared["fingerprint"])


def test_one_byte_makes_another_result_and_status_says_why(
    cli: Cli, home: Path, prepare: list[str], prepared: dict[str, Any]
) -> None:
    text = (home / "posts.jsonl").read_text()
    (home / "posts.jsonl").write_text(text.replace("ship number 7", "ship number 8"))
    (line,) = cli("status", "--json").ok().document["runs"][0]["phases"]
    assert (line["state"], line["reasons"]) == ("stale", ["posts.jsonl changed"])
    assert "prepare: posts.jsonl changed" in cli("status").ok().out
    again = cli(*prepare, "--json").ok().document
    assert (again["cached"], again["fingerprint"] == prepared["fingerprint"]) == (False, False)
    assert cli("status", "--json").ok().document["runs"][0]["phases"][0]["state"] == "complete"


def test_data_replaces_the_authors_rows_and_leaves_the_general_ones(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "author.jsonl", rows(30, "bay"))
    write_rows(home / "general.jsonl", rows(20, "moon"))
    (home / "twinctl.toml").write_text('[prepare]\ndata = ["author.jsonl"]\ngeneral = ["general.jsonl"]\n')

    def roles(*words: str) -> dict[str, int]:
        metrics = cli(*words, "--json").ok().document["metrics"]
        found: dict[str, int] = metrics["rows_by_role"]
        return found

    own = prepare[: prepare.index("-d")]
    assert roles(*own) == {"author": 30, "general": 20}
    assert roles(*prepare) == {"author": 60, "general": 20}
    assert roles(*prepare, "-d", "author.jsonl") == {"author": 90, "general": 20}
    assert roles(*prepare, "--general", "0") == {"author": 60}
    assert roles(*prepare, "--general", "7") == {"author": 60, "general": 7}


def test_map_reads_columns_of_other_names(cli: Cli, home: Path, prepare: list[str], prepared: dict[str, Any]) -> None:
    renamed = [{"question": row["instruction"], "answer": row["output"]} for row in rows(60)]
    write_rows(home / "posts.jsonl", renamed)
    mapped = cli(*prepare, "--map", "instruction=question", "--map", "output=answer", "--json").ok().document
    assert mapped["metrics"] == prepared["metrics"]


def test_warning_reaches_people_and_scripts(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", rows(1))
    words = [*prepare, "--eval-fraction", "0.0001"]
    warnings = cli(*words, "--json").ok().document["warnings"]
    assert ["none is held out" in warning for warning in warnings] == [True, False]
    shown = cli(*words).ok()
    assert [f"warning: {warning}\n" in shown.err for warning in warnings] == [True, True]


def test_workspace_by_variable_and_by_flag(
    cli: Cli, home: Path, prepare: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINCTL_WORKSPACE", "by-variable")
    assert cli(*prepare, "--json").ok().document["path"].startswith("by-variable/artifacts/")
    assert cli(*prepare, "-w", "by-flag", "--json").ok().document["path"].startswith("by-flag/artifacts/")
    assert not (home / ".twinctl").exists()
    assert cli("status", "--json").ok().document["workspace"] == "by-variable"


def test_workspace_can_be_moved(cli: Cli, home: Path, prepare: list[str], prepared: dict[str, Any]) -> None:
    (home / ".twinctl").rename(home / "moved")
    again = cli(*prepare, "-w", "moved", "--json").ok().document
    assert again == {**prepared, "cached": True, "path": prepared["path"].replace(".twinctl", "moved")}


def test_run_moved_on_keeps_its_preset(cli: Cli, home: Path, prepare: list[str], model: Path) -> None:
    cli(*prepare, "--run", "mine").ok()
    write_rows(home / "more.jsonl", rows(10))
    cli("prepare", "--run", "mine", "--model", model, "-d", "more.jsonl").ok()
    (run,) = cli("runs", "--json").ok().document["runs"]
    assert (run["pins"]["preset"], run["pins"]["sources"][0]["locator"]) == ("tiny", "more.jsonl")


def test_settings_come_from_all_layers_and_inspect_says_where_from(
    cli: Cli, home: Path, prepare: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "twinctl.toml").write_text("[prepare]\neval_fraction = 0.25\nmax_length = 64\n")
    monkeypatch.setenv("TWINCTL_PREPARE_MAX_LENGTH", "200")
    cli(*prepare, "--seed", "7").ok()
    shown = [line.split() for line in cli("inspect", "prepare").ok().out.splitlines()]
    assert ["template", "alpaca", "default"] in shown
    assert ["max_length", "200", "TWINCTL_PREPARE_MAX_LENGTH"] in shown
    assert ["eval_fraction", "0.25", "twinctl.toml"] in shown
    assert ["seed", "7", "flag"] in shown
    monkeypatch.delenv("TWINCTL_PREPARE_MAX_LENGTH")
    (home / "twinctl.toml").unlink()
    cli(*prepare).ok()
    shown = [line.split() for line in cli("inspect", "prepare").ok().out.splitlines()]
    assert ["max_length", "256", "preset", "tiny"] in shown


def test_failed_inspection_shows_the_failure(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", ["{"])
    failure = json.loads(cli(*prepare, "--json").out)["error"]["message"]
    assert failure in cli("inspect", "prepare", "--run", "tiny").ok().out
