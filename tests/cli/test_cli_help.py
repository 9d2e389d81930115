"""Finding one's way: help, version, and what is typed wrongly."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.commands import Cli
from twinctl import __version__
from twinctl.cli.app import COMMANDS


def test_no_arguments_show_the_help(cli: Cli) -> None:
    shown = cli()
    assert all(f"  {name} " in shown.out + shown.err for name in COMMANDS)
    assert cli("--help").ok().out == cli("-h").ok().out == shown.out + shown.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(cli: Cli, name: str) -> None:
    shown = cli(name, "-h").ok()
    assert re.search(r"^ +twinctl ", shown.out, re.MULTILINE), shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "-completion" not in shown.out  # that is the root's business
    assert shown.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(cli: Cli, name: str) -> None:
    text = cli(name, "--help").ok().out
    wanted = {"--json", "--quiet", "--debug", "-h"}
    if name not in ("demo", "init", "docs"):
        wanted |= {"--workspace"}
    if name not in ("demo", "init", "runs", "clean", "diff", "doctor", "docs"):
        wanted |= {"--run"}
    assert {option for option in wanted if option not in text} == set()


def test_the_version(shell: Cli) -> None:
    assert shell("--version").ok().out == f"twinctl {__version__}\n"


def test_a_mistyped_command_gets_the_near_one(shell: Cli) -> None:
    shown = shell("trian")
    assert (shown.code, shown.out) == (2, "")
    assert "trian" in shown.err
    assert "'train'" in shown.err


def test_a_mistyped_option_gets_the_near_one(shell: Cli) -> None:
    shown = shell("train", "--rnak", "3")
    assert (shown.code, shown.out) == (2, "")
    assert "--rnak" in shown.err
    assert "--rank" in shown.err


@pytest.mark.parametrize("words", [["trian", "--json"], ["train", "--rank", "many", "--json"], ["push", "--json"]])
def test_a_usage_error_is_a_document_for_scripts(shell: Cli, words: list[str]) -> None:
    shown = shell(*words)
    assert shown.code == 2
    error = json.loads(shown.out)["error"]
    assert error["code"] == "UsageError"
    assert error["message"]
    assert error["hint"] == f"twinctl {'' if words[0] == 'trian' else words[0] + ' '}-h"
