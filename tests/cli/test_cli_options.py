"""Options are made from the recipes: every field is one, and --help says of it what the recipe says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

import twinctl.cli
from twinctl.cli import app, chat, export, prepare, push, train, typer_internals
from twinctl.cli.command import Flags, command
from twinctl.cli.session import Session
from twinctl.config.describe import default_text, range_text
from twinctl.config.export import ExportOptions
from twinctl.config.prepare import PrepareOptions, PrepareRecipe
from twinctl.config.push import PushOptions, PushRecipe
from twinctl.config.recipe import flag_of, option_names, schema_of
from twinctl.config.sampling import Sampling
from twinctl.config.train import TrainOptions, TrainRecipe

TAKES: dict[str, tuple[typer.Typer, tuple[type[BaseModel], ...]]] = {
    "prepare": (prepare.app, (PrepareRecipe, PrepareOptions)),
    "train": (train.app, (TrainRecipe, TrainOptions)),
    "chat": (chat.app, (Sampling,)),
    "export": (export.app, (ExportOptions,)),
    "push": (push.app, (PushRecipe, PushOptions)),
}
# Fields that no option sets, with the reason.
NO_OPTION = {
    "general": "a table of twinctl.toml and of presets; --general says how many",
    "bias": "for twinctl.toml: hardly anybody changes it",
    "project": "for twinctl.toml: a name that stays",
    "stop_at": "what --max-time makes of a recipe",
    "precision": "an argument of the command, which --merged goes with",
    "repo": "an argument of the command",
    "kind": "--adapter, --merged and --gguf choose it",
    "progress": "whether somebody watches, which the command knows",
}
FIELDS = [
    (about, model, name) for about, (_, models) in TAKES.items() for model in models for name in model.model_fields
]


def help_of(app: typer.Typer) -> str:
    """What `--help` prints."""
    return CliRunner().invoke(app, ["--help"]).output


@pytest.mark.parametrize(("section", "model", "name"), [case for case in FIELDS if case[2] not in NO_OPTION])
def test_every_field_is_an_option_that_says_its_default_choices_and_range(
    section: str, model: type[BaseModel], name: str
) -> None:
    def joined(text: str) -> str:
        return "".join(text.split())  # lines break anywhere between words, and after a hyphen

    schema, shown = schema_of(model)[name], joined(help_of(TAKES[section][0]))
    on, _, off = option_names(model, name)[0].partition("/")
    assert on in shown
    assert joined(schema["description"][1:]) in shown
    default = default_text(section, name, schema).replace("`", "")
    if schema.get("type") == "boolean":
        default = {"true": on, "false": off}[default] if off else ""
    shown_default = "" if default in ("unset", "empty") else f"default: {default}"
    for fact in (range_text(schema), shown_default, *schema.get("enum", ())):
        assert joined(fact) in shown


def test_a_field_without_an_option_is_one_of_those_that_have_a_reason() -> None:
    assert {name for _, model, name in FIELDS if flag_of(model, name) is None} == set(NO_OPTION) - {"precision"}


def test_what_an_option_means_is_written_in_the_recipe_alone() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in Path(twinctl.cli.__file__).parent.glob("*.py")}
    texts = {schema_of(model)[name]["description"] for _, model, name in FIELDS if flag_of(model, name)}
    assert [
        (file, text) for file, source in sources.items() for text in texts if len(text) > 20 and text in source
    ] == []


def test_the_sections_of_train() -> None:
    titles = re.findall(r"^(\S.*):$", help_of(train.app), re.MULTILINE)
    assert titles == ["What is trained", "How", "When to look and save", "Memory and device", "Options", "Common"]


def test_a_flag_that_is_not_given_leaves_the_field_to_the_other_layers() -> None:
    seen: list[Flags] = []
    toy = typer.Typer()

    @command(toy, "train", TrainRecipe)
    def toy_train(session: Session, flags: Flags) -> None:
        seen.append(flags)

    assert CliRunner().invoke(toy, ["--rank", "8", "--no-packing"]).exit_code == 0
    assert seen == [{"rank": 8, "packing": False}]


def test_the_root_help_groups_every_command_once() -> None:
    shown = help_of(app.app)
    assert re.findall(r"^(Workflow|Look|Workspace|Machine):$", shown, re.MULTILINE) == list(app.GROUPS)
    for name in app.COMMANDS:
        assert len(re.findall(rf"^  {name}  ", shown, re.MULTILINE)) == 1


def test_what_is_used_of_typer_is_there_as_it_is_used() -> None:
    """Typer documents none of it: a release that changes it fails here, by name."""
    assert issubclass(typer.core.TyperCommand, typer_internals.Command), "TyperCommand's base"
    for name in ("meta", "args"):
        assert hasattr(typer_internals.Context(typer.core.TyperCommand("x")), name), f"Context.{name}"
    for name in ("section", "write_dl"):
        assert callable(getattr(typer_internals.HelpFormatter, name)), f"HelpFormatter.{name}"
    assert callable(typer_internals.Parameter.get_help_record), "Parameter.get_help_record"
    assert callable(typer_internals.TyperException.format_message), "TyperException.format_message"
