"""The manual's pages as these tests read them: code blocks, inline code, links, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token

from twinctl.cli.app import COMMANDS
from twinctl.docs.topics import FOLDER

ROOT = Path(__file__).parents[2]
README, CONTRIBUTING = ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted(FOLDER.glob("*.md"))]
ENDS_A_COMMAND = re.compile(r"[|&;<>()]+")


@cache
def tokens(page: Path) -> list[Token]:
    """The page's Markdown tokens, those inside paragraphs and table cells too."""
    found = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    return [each for token in found for each in (token, *(token.children or []))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    return [token.content for token in tokens(page) if token.type == "fence" and token.info == language]


def inline_code(page: Path) -> list[str]:
    """The code inside sentences and table cells."""
    return [token.content for token in tokens(page) if token.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Where the page's links point."""
    return [str(token.attrs["href"]) for token in tokens(page) if token.type == "link_open"]


def headings(page: Path) -> list[str]:
    """The page's headings."""
    return [after.content for token, after in pairwise(tokens(page)) if token.type == "heading_open"]


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def rows(page: Path, first: str) -> list[list[str]]:
    """The cells of the table whose first column has this header, its markup left out."""
    found: list[list[str]] = []
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == first:
            inside = True
        elif not cells:
            inside = False
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    return found


def commands(page: Path) -> Iterator[list[str]]:
    """Every `twinctl …` of the page, its words without the program's name."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from commands_of(line)
    for code in inline_code(page):
        if code.startswith("twinctl ") and "…" not in code:
            yield from commands_of(re.sub(r"\[[^\]]*\]", "", code))


def commands_of(line: str) -> Iterator[list[str]]:
    """The twinctl commands of a shell line, those inside $(…) too."""
    inner = re.findall(r"\$\((twinctl [^)]*)\)", line)
    lexer = shlex.shlex(re.sub(r"\$\(twinctl [^)]*\)", "FOLDER", line), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] | None = None
    for word in [*lexer, ";"]:
        if ENDS_A_COMMAND.fullmatch(word):
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(word)
        elif word == "twinctl":
            words = []
    for text in inner:
        yield from commands_of(text)


@cache
def command(name: str) -> Any:
    """The command as the root runs it."""
    return typer.main.get_command(import_module(f"twinctl.cli.{name}").app)


def option_names() -> set[str]:
    """Every option of every command and of the subcommands."""
    found = {"--version", "--help", "-h"}
    for name in COMMANDS:
        for each in (command(name), *getattr(command(name), "commands", {}).values()):
            found |= {option for param in each.params for option in (*param.opts, *param.secondary_opts)}
    return found
