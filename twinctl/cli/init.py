"""`twinctl init`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from twinctl.cli.command import PresetOption, command
from twinctl.cli.output import Output
from twinctl.config.export import ExportOptions
from twinctl.config.prepare import PrepareOptions, PrepareRecipe
from twinctl.config.presets import DEFAULT
from twinctl.config.presets import preset as preset_values
from twinctl.config.resolve import CONFIG_FILE
from twinctl.config.sampling import Sampling
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)
SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "prepare": (PrepareOptions, PrepareRecipe),
    "train": (TrainRecipe, TrainOptions),
    "export": (ExportOptions,),
    "chat": (Sampling,),
}


@command(app, workspace=False, run=False)
def init(
    output: Output,
    preset: PresetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a twinctl.toml that is there.")] = False,
) -> None:
    """Write a twinctl.toml with every field explained, and a .env for the tokens if there is none.

    \b
      twinctl init
      twinctl init --preset tiny
    """
    target = Path(CONFIG_FILE)
    if target.exists() and not force:
        raise UsageError(f"{CONFIG_FILE} is there already", "edit it, or replace it with --force")
    target.write_text(config_text(preset or DEFAULT), encoding="utf-8")
    written = [CONFIG_FILE]
    if not Path(".env").exists():
        Path(".env").touch(mode=0o600)
        Path(".env").write_text(env_example(), encoding="utf-8")
        written.append(".env")
    if output.json:
        output.document({"command": "init", "written": written})
        return
    output.line(f"wrote {' and '.join(written)}")
    output.say("next: put your data into [prepare] data, your tokens into .env, then: twinctl prepare")


def config_text(preset: str) -> str:
    """twinctl.toml: every field explained, as a comment with the value it has in the preset."""
    chosen = preset_values(preset)
    lines = [f"# twinctl.toml: {chosen['about']}", f'preset = "{preset}"']
    for section, models in SECTIONS.items():
        lines += ["", f"[{section}]"]
        for model in models:
            for name, field in model.model_fields.items():
                value = chosen.get(section, {}).get(name, field.default)
                lines.append(f"# {field.description}")
                lines.append(
                    f"# {name} = {_toml(value)}"
                    if value is not None and not field.is_required()
                    else _wanted(name, value)
                )
    return "\n".join(lines) + "\n"


def _wanted(name: str, value: Any) -> str:
    return f"# {name} = {_toml(value)}" if isinstance(value, str) else f"# {name} ="


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def env_example() -> str:
    """The text of .env.example: packaged with this package, or at the top of a checkout."""
    packaged = files("twinctl") / "env.example"
    return (packaged if packaged.is_file() else Path(__file__).parents[2] / ".env.example").read_text(encoding="utf-8")
