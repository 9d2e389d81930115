"""`twinctl docs`: the list, a page, a typo."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from twinctl.cli.app import app
from twinctl.docs.topics import TOPICS, page_text, title_of


def docs(*words: str) -> Result:
    return CliRunner().invoke(app, ["docs", *words], prog_name="twinctl")


@pytest.mark.parametrize("words", [(), ("--list",), ("settings", "--list")])
def test_the_list_has_every_topic_with_its_title(words: tuple[str, ...]) -> None:
    shown = docs(*words)
    assert shown.exit_code == 0
    assert [line.split(maxsplit=1) for line in shown.stdout.splitlines()] == [[each, title_of(each)] for each in TOPICS]
    assert "twinctl docs TOPIC" in shown.stderr


def test_in_a_pipe_a_page_is_its_markdown() -> None:
    assert docs("settings").stdout == page_text("settings")


def test_a_script_gets_the_topics_and_a_page_as_documents() -> None:
    assert json.loads(docs("--json").stdout)["topics"][0] == {"name": TOPICS[0], "title": title_of(TOPICS[0])}
    page = json.loads(docs("settings", "--json").stdout)
    assert (page["topic"], page["text"]) == ("settings", page_text("settings"))


def test_a_mistyped_topic_gets_the_near_one_and_all_names() -> None:
    shown = docs("setings")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "there is no topic “setings”" in shown.stderr
    assert "did you mean “settings”? topics: " in shown.stderr
    assert all(topic in shown.stderr for topic in TOPICS)


def test_in_a_terminal_a_page_is_rendered_and_goes_through_the_pager() -> None:
    """Through `cat` in place of a pager that waits for a key."""
    parent, child = pty.openpty()
    environment = {**os.environ, "PAGER": "cat", "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "twinctl.cli.app", "docs", "settings"]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 65536):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(parent)
    text = shown.decode()
    assert process.returncode == 0, text
    assert title_of("settings") in text
    assert "| --- |" not in text and "<!--" not in text
