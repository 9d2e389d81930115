"""`twinctl prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    PresetOption,
    QuietOption,
    RestartOption,
    RunOption,
    Session,
    WaitOption,
    WorkspaceOption,
)
from twinctl.phases.prepare import plan
from twinctl.recipes.prepare import PrepareOptions, PrepareRecipe
from twinctl.settings.resolve import preset_name, values_of
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def prepare(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="The author's rows: a JSONL file or OWNER/NAME:SPLIT; repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The base model: a folder or a Hub id.")] = None,
    revision: Annotated[str | None, typer.Option(help="The base model's branch, tag or commit.")] = None,
    template: Annotated[str | None, typer.Option(help="The prompt's form: alpaca.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest sample in tokens.")] = None,
    eval_fraction: Annotated[float | None, typer.Option(help="The share of rows held out.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which rows are held out.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="A column by another name: instruction=question; repeatable.")
    ] = None,
    no_general: Annotated[bool, typer.Option("--no-general", help="Leave the preset's general rows out.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the Hub for newer commits than those pinned.")
    ] = False,
    preset: PresetOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Turn rows of text into tokens that are ready to train on, and pin model, data and template in a run.

    \b
      twinctl prepare                    the preset's data
      twinctl prepare --preset tiny      the bundled author, on a CPU
      twinctl prepare -d posts.jsonl     {"instruction": …, "output": …} a line
      twinctl prepare -d qa.jsonl --map instruction=question --map output=answer
    """
    known_fields = {**PrepareRecipe.model_fields, **PrepareOptions.model_fields}
    flags = {key: value for key, value in locals().items() if key in known_fields}
    flags |= {"map": map_, "general": [] if no_general else None}
    session = Session.open(workspace, run, json=json, quiet=quiet)
    name = session.run_name or preset_name(preset)
    known = session.workspace.runs.get(name) if session.workspace.runs.exists(name) else Run(name)
    chosen = preset_name(preset, known.pins.get("preset"))
    values = values_of("prepare", (PrepareRecipe, PrepareOptions), chosen, flags)
    request = plan(session.workspace, known, chosen, values, refresh=refresh)
    outcome = session.execute(name, request, wait=wait, restart=restart)
    session.workspace.runs.use(name)
    session.finish("prepare", outcome, _figures(outcome.record.metrics), "twinctl train")


def _figures(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The metrics for people."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in metrics["rows_dropped"].items()) or "none"
    return [
        ["rows", f"{metrics['rows_kept']} kept of {metrics['rows_read']}; dropped: {dropped}"],
        ["split", f"{metrics['train_rows']} to train on, {metrics['eval_rows']} held out"],
        ["tokens", f"{metrics['tokens']:,}; longest row {metrics['longest']}"],
    ]
