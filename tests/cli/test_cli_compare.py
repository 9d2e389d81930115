"""compare: trainings by several methods, each in a run of its own, or runs that are there, in one table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.commands import Cli


def _trainings(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert document["command"] == "compare"
    return {line["name"]: line for line in document["trainings"]}


def test_each_method_is_trained_in_a_run_of_its_own_from_one_recipe(cli: Cli, prepare: list[str], fakes: None) -> None:
    cli(*prepare).ok()
    found = _trainings(cli("compare", "--methods", "lora,qlora", "--max-steps", "2", "--json").ok().document)
    assert {name: line["method"] for name, line in found.items()} == {"lora": "lora", "qlora": "qlora"}
    assert all(line["peak_memory_gib"] == 0.25 and line["eval_loss"] == 1.1 for line in found.values())
    diff = cli("diff", "tiny-lora", "tiny-qlora", "--json").ok().document
    assert {line["name"] for line in diff["differences"] if "recipe" in line["name"]} == {"train.recipe.method"}
    (tiny,) = cli("status", "--run", "tiny", "--json").ok().document["runs"]
    assert tiny["current"]
    assert [line["slot"] for line in tiny["phases"]] == ["prepare"]


def test_what_was_made_is_not_made_again(cli: Cli, prepare: list[str], fakes: None) -> None:
    cli(*prepare).ok()
    words = ("compare", "--methods", "lora", "--max-steps", "2")
    first = cli(*words, "--json").ok().document
    assert cli(*words, "--json").ok().document == first
    assert cli(*words).ok().err.count("step") == 0


def test_runs_that_are_there(cli: Cli, prepare: list[str], trained: dict[str, Any]) -> None:
    cli(*prepare, "--run", "wide").ok()
    cli("train", "--run", "wide", "--rank", "64").ok()
    lines = cli("compare", "tiny", "wide").ok().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["tiny", "wide"]
    assert "0.25 GiB" in lines[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the runs to compare, or --methods"),
        (["tiny", "--methods", "lora"], "give the runs to compare, or --methods"),
        (["--methods", "lora,dora"], "there is no method “dora”"),
    ],
)
def test_a_wrong_request_is_refused(cli: Cli, prepare: list[str], words: list[str], message: str) -> None:
    cli(*prepare).ok()
    result = cli("compare", *words)
    assert result.code == 2
    assert message in result.err
