"""diff: two runs side by side shows what differs between them, all of it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import make_model, rows, write_rows


@pytest.fixture
def other(cli: Cli, prepare: list[str], trained: dict[str, Any]) -> str:
    """A second run on the same tokens, not trained yet."""
    cli(*prepare, "--run", "other").ok()
    return "other"


def found(cli: Cli, *runs: str) -> dict[str, list[Any]]:
    """Name → both values."""
    document = cli("diff", *runs, "--json").ok().document
    assert (document["command"], document["runs"]) == ("diff", list(runs))
    return {line["name"]: line["values"] for line in document["differences"]}


def test_a_run_is_the_same_as_itself_and_as_one_that_came_to_the_same(cli: Cli, other: str) -> None:
    cli("train", "--run", other).ok()
    for names in (("tiny", "tiny"), ("tiny", other)):
        assert cli("diff", *names).ok().out == f"{names[0]} and {names[1]} are the same\n"
        assert found(cli, *names) == {}


def test_every_recipe_field_that_differs_is_shown_and_no_other(cli: Cli, other: str) -> None:
    cli("train", "--run", other, "--rank", "8", "--lr", "1e-5").ok()
    shown = found(cli, "tiny", other)
    assert {name: values for name, values in shown.items() if not name.endswith("seconds")} == {
        "train.recipe.rank": [32, 8],
        "train.recipe.learning_rate": [0.002, 1e-5],
    }
    lines = cli("diff", "tiny", other).ok().out.splitlines()
    assert lines[0].split() == ["tiny", other]
    assert ["train.recipe.learning_rate", "0.002", "1e-05"] in [line.split() for line in lines]
    assert len(lines) == len(shown) + 1


def test_metrics_data_and_model_that_differ_are_shown(
    cli: Cli, home: Path, prepare: list[str], trained: dict[str, Any]
) -> None:
    write_rows(home / "posts.jsonl", [*rows(40), *rows(1)])
    make_model(home / "wide", intermediate_size=32)
    cli(*prepare, "--run", "wide", "--model", "wide").ok()
    shown = found(cli, "tiny", "wide")
    assert shown["pins.model"] == [prepare[prepare.index("--model") + 1], "wide"]
    assert shown["prepare.metrics.rows_read"] == [60, 41]
    assert shown["prepare.metrics.rows_dropped.duplicate"] == [None, 1]
    assert "prepare.inputs.sources" in shown
    assert "prepare.inputs.tokenizer" not in shown  # another model with the same tokenizer


def test_what_only_one_of_them_has_stands_beside_a_dash(cli: Cli, other: str) -> None:
    assert found(cli, "tiny", other)["train.recipe.rank"] == [32, None]
    assert found(cli, other, "tiny")["train.recipe.rank"] == [None, 32]
    assert ["train.recipe.rank", "–", "32"] in [line.split() for line in cli("diff", other, "tiny").out.splitlines()]


def test_a_digest_is_cut_and_a_list_is_shown_as_json(cli: Cli, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINCTL_TRAIN_TARGET_MODULES", "q_proj")
    cli("train", "--run", other).ok()
    shown = cli("diff", "tiny", other).ok().out
    assert '["q_proj"]' in shown
    cli("export", "--run", other).ok()
    (line,) = [line.split() for line in cli("diff", other, "tiny").out.splitlines() if "merge.inputs.adapter" in line]
    digest = found(cli, other, "tiny")["merge.inputs.adapter"][0]
    assert (len(digest), line) == (64, ["merge.inputs.adapter", digest[:12], "–"])


def test_runs_may_be_called_anything(cli: Cli, prepare: list[str]) -> None:
    for name in ("name", "values"):
        cli(*prepare, "--run", name, "--seed", str(len(name))).ok()
    assert found(cli, "name", "values")["prepare.recipe.seed"] == [4, 6]


def test_a_run_that_is_not_there_is_named(cli: Cli, other: str) -> None:
    shown = cli("diff", "tiny", "othre", "--json")
    assert (shown.code, shown.document["error"]["code"]) == (4, "UpstreamError")
    assert "“othre”" in shown.document["error"]["message"]


def test_looking_changes_nothing(cli: Cli, other: str, home: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}

    before = files()
    cli("diff", "tiny", other).ok()
    assert files() == before
