"""What the README and the manual tell people to type exists, by the real command line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.manual_pages import (
    PAGES,
    README,
    blocks,
    command,
    commands,
    commands_of,
    inline_code,
    option_names,
    rows,
)
from twinctl.chat.commands import COMMANDS as CHAT_COMMANDS
from twinctl.cli.app import COMMANDS
from twinctl.config.presets import NAMES
from twinctl.docs.settings import TABLES
from twinctl.docs.topics import FOLDER

# Options of other programs that the pages mention.
OF_OTHERS = {"--strict", "--cloud", "--sweep"}


def parse(words: list[str]) -> None:
    """Parse as the command line does, without running it. Raises the usage error that a person would see."""
    if not words or words[0].startswith("-") or "-h" in words:
        return
    assert words[0] in COMMANDS, f"no command {words[0]}"
    if len(words) == 1:  # the command is only named
        return
    context = command(words[0]).make_context(words[0], words[1:])
    if rest := [*context._protected_args, *context.args]:
        context.command.commands[rest[0]].make_context(rest[0], rest[1:], parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_the_page_parses(page: Path) -> None:
    for words in commands(page):
        try:
            parse(words)
        except Exception as error:
            pytest.fail(f"{page.name}: twinctl {' '.join(words)}: {getattr(error, 'message', error)}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_named_in_a_sentence_exists(page: Path) -> None:
    named = {word for code in inline_code(page) for word in re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", code)}
    assert named - option_names() - OF_OTHERS == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_on_the_page_is_a_field(page: Path) -> None:
    for block in blocks(page, "toml"):
        parsed = tomllib.loads(block)
        assert parsed.pop("preset", NAMES[0]) in NAMES
        for section, values in parsed.items():
            fields = [model.model_fields.keys() for name, model in TABLES.values() if name == section]
            assert set(values) <= set().union(*fields), block


def test_the_readme_has_every_command_in_its_table() -> None:
    named = [re.match(r"`twinctl ([a-z]+)", row[0]) for row in rows(README, "command")]
    assert [match[1] for match in named if match] == list(COMMANDS)


def test_every_command_of_a_conversation_is_on_the_page_of_the_chat() -> None:
    lines = rows(FOLDER / "chat.md", "command")
    assert {name for line in lines for name in re.findall(r"`/(\w+)", line[0])} == CHAT_COMMANDS.keys()


def test_what_does_not_exist_is_seen() -> None:
    for words, named in ((["trian"], "trian"), (["train", "--rnak", "3"], "rnak"), (["runs", "us", "x"], "us")):
        with pytest.raises(Exception, match=named):
            parse(words)
    assert list(commands_of('FOO=1 twinctl a -m "$(twinctl path gguf)" && twinctl b > c # twinctl d')) == [
        ["a", "-m", "FOLDER"],
        ["b"],
        ["path", "gguf"],
    ]
