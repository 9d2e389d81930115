"""Streams: data on stdout, all else on stderr; plain in a pipe, whole in a pipe, one document with --json."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import rows, write_rows

EVERY_COMMAND: list[list[str]] = [
    ["init"],
    ["train"],
    ["train", "--rank", "4"],
    ["export"],
    ["export", "--gguf"],
    ["push", "me/twin", "--dry-run"],
    ["status"],
    ["inspect", "prepare"],
    ["inspect", "train"],
    ["runs"],
    ["path"],
    ["path", "tokens"],
]


@pytest.fixture
def full(trained: object, cli: Cli) -> None:
    """A workspace with everything up to a merged model."""
    cli("export").ok()


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_json_is_one_document_and_progress_stays_off_stdout(cli: Cli, full: None, words: list[str]) -> None:
    document = cli(*words, "--json").ok().document  # parses as a whole
    assert document["command"] == words[0]


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_no_escape_codes_and_nothing_padded_in_a_pipe(
    cli: Cli, full: None, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR")
    shown = cli(*words).ok()
    assert "\x1b" not in shown.out + shown.err
    assert [line for line in shown.out.splitlines() if line != line.rstrip()] == []


def test_no_escape_codes_in_an_error(shell: Cli) -> None:
    shown = shell("train", NO_COLOR="", TERM="xterm-256color")
    assert shown.code == 4
    assert "\x1b" not in shown.err


@pytest.mark.parametrize("words", [["train", "--rank", "4"], ["status"], ["export", "--gguf"]], ids=" ".join)
def test_quiet_shows_no_progress(cli: Cli, full: None, words: list[str]) -> None:
    shown = cli(*words, "--quiet").ok()
    assert shown.out
    assert [line for line in shown.err.splitlines() if not line.startswith("warning:")] == []


def test_quiet_keeps_errors(cli: Cli) -> None:
    assert "nothing is prepared" in cli("train", "--quiet").err


def test_training_shows_its_steps_and_result(cli: Cli, prepared: object, fakes: None) -> None:
    shown = cli("train").ok()
    assert "train: step 1/2  loss 2.0000  200 tokens/s  0 s left\n" in shown.err
    assert "train: step 2/2  loss 1.0000  200 tokens/s\n" in shown.err
    assert "warning: the fake trainer was used\n" in shown.err
    assert "eval loss   2.2000 → 1.1000 (base → twin)\n" in shown.out
    assert "next: twinctl chat, or" in shown.err
    assert "next: twinctl chat --4bit, or" in cli("train", "--method", "qlora").ok().err


def test_progress_of_many_rows_is_a_line_now_and_then(cli: Cli, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", rows(3000))
    lines = [line for line in cli(*prepare).ok().err.splitlines() if " rows" in line]
    assert len(lines) == 1
    assert re.fullmatch(r"prepare: 1,000 rows(  [\d,]+ rows/s)?", lines[0])


def test_long_paths_are_whole_in_a_pipe(shell: Cli, home: Path, prepare: list[str]) -> None:
    folder = home.joinpath(*["a rather long folder name, as people have them"] * 6)
    long = str(folder / "workspace")
    assert len(long) > 250
    assert long in shell(*prepare, "-w", long, COLUMNS="40").ok().out
    shown = shell("path", "-w", long, COLUMNS="40").ok().out
    assert shown.startswith(f"tokens  {long}/artifacts/prepare/")
    assert len(shown.splitlines()) == 1
    missing = str(folder / "nowhere.jsonl")
    shown = shell("prepare", "--preset", "tiny", "-d", missing, COLUMNS="40")
    assert f"error: there is no file {missing}\n" in shown.err
    assert shown.err.count("\n") == 2


def test_markup_in_names_is_text(cli: Cli, prepare: list[str]) -> None:
    assert "no file matches [red]x[/red].jsonl" in cli(*prepare[:-1], "[red]x[/red].jsonl").err


def test_terminal_has_a_live_line_that_is_gone_at_the_end(prepare: list[str], home: Path) -> None:
    words = ["-m", "twinctl.cli.app", *prepare]
    child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=(24, 100))
    child.expect_exact("prepare: reading posts.jsonl")
    child.expect_exact("\x1b[2K")  # the line is erased
    child.expect_exact("prepare: done")
    child.expect_exact("60 rows: 60 instruction")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_in_a_terminal_an_error_breaks_between_words_and_its_command_not_at_all() -> None:
    message, hint = " ".join(["sixteen-letters!"] * 9), f"type it: twinctl export {'-q q4_k_m ' * 9}--restart"
    program = f"""
from twinctl.cli.output import Output
from twinctl.errors import ConfigError
Output().error(ConfigError({message!r}, {hint!r}))
"""
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    child = pexpect.spawn(sys.executable, ["-c", program], encoding="utf-8", timeout=60, dimensions=(24, 60), env=env)
    child.expect(pexpect.EOF)
    shown = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", child.before or "").splitlines()]
    line = " ".join(["sixteen-letters!"] * 3)
    assert shown == [f"error: {line}", line, line, f"  → {hint}"]


def test_reader_that_leaves_early_is_no_bug(shell: Cli, prepared: dict[str, Any]) -> None:
    import subprocess

    command = f"{sys.executable} -m twinctl.cli.app inspect prepare | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("prepare: complete")
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
