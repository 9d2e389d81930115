"""`twinctl docs`."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated

import typer

from twinctl.cli.command import command
from twinctl.cli.output import Output
from twinctl.docs.topics import TOPICS, page_text, title_of
from twinctl.errors import UsageError
from twinctl.wording import did_you_mean

app = typer.Typer(rich_markup_mode=None, add_completion=False)
WIDEST = 100
# A link to another page, which in a terminal is another command.
PAGE_LINK = re.compile(r"\[([^\]]+)\]\(([a-z-]+)\.md(?:#[\w-]+)?\)")


@command(app, workspace=False, run=False)
def docs(
    output: Output,
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="The page to show; without it the list of topics.")
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="List the topics.")] = False,
) -> None:
    """Show a page of the manual: rendered with a pager in a terminal, as Markdown in a pipe.

    \b
      twinctl docs
      twinctl docs quickstart
      twinctl docs settings | less
    """
    if topic is not None and topic not in TOPICS:
        raise _unknown(topic)
    if topic is None or as_list:
        _list(output)
    elif output.json:
        output.document({"command": "docs", "topic": topic, "title": title_of(topic), "text": page_text(topic)})
    elif sys.stdout.isatty():
        _render(output, page_text(topic))
    else:
        output.line(page_text(topic).rstrip("\n"))


def _unknown(topic: str) -> UsageError:
    """The error for a topic that does not exist, with the nearest name and all names."""
    question = did_you_mean(topic.lower(), TOPICS)
    return UsageError(f"there is no topic “{topic}”", f"{question} topics: {', '.join(TOPICS)}".lstrip())


def _list(output: Output) -> None:
    """The topics with their titles."""
    if output.json:
        topics = [{"name": topic, "title": title_of(topic)} for topic in TOPICS]
        output.document({"command": "docs", "topics": topics})
        return
    output.table([[topic, title_of(topic)] for topic in TOPICS])
    output.say("to read one: twinctl docs TOPIC")


def _render(output: Output, text: str) -> None:
    """The page on the terminal, through the person's pager."""
    from rich.markdown import Markdown
    from rich.theme import Theme

    os.environ.setdefault("LESS", "-FRX")  # colours pass, and a page that fits the screen needs no key press
    page = Markdown(PAGE_LINK.sub(r"\1 (`twinctl docs \2`)", text), hyperlinks=False, code_theme="ansi_dark")
    # No background behind code: it would be black on a light terminal.
    theme = Theme({"markdown.code": "bold cyan"})
    with output.out.pager(styles=not output.out.no_color), output.out.use_theme(theme):
        output.out.print(page, width=min(output.out.width, WIDEST))
