"""`twinctl prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twinctl.cli.command import Flags, PresetOption, RestartOption, WaitOption, command
from twinctl.cli.session import Session
from twinctl.config.prepare import DATA, PrepareOptions, PrepareRecipe
from twinctl.config.resolve import preset_name, values_of
from twinctl.phases.prepare import plan
from twinctl.pipeline.run_view import RunView
from twinctl.planning.schedule import training_schedule
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, "prepare", PrepareRecipe, PrepareOptions, panels={DATA: ("refresh",)})
def prepare(
    session: Session,
    flags: Flags,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the Hub for newer commits than those pinned.")
    ] = False,
    preset: PresetOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
) -> None:
    """Turn rows of text into tokens that are ready to train on, and pin model, data and template in a run.

    \b
      twinctl prepare                    the preset's data
      twinctl prepare --preset tiny      the bundled author, on a CPU
      twinctl prepare -d posts/          a folder of .md, .txt, .html, .jsonl, …
      twinctl prepare -d chats.jsonl -d 'me/notes:train[:500]'
      twinctl prepare -d qa.csv --map instruction=question --map output=answer
      twinctl inspect prepare --rows 5   then look at what the model will see
    """
    name = session.run_name or preset_name(preset)
    known = session.workspace.runs.get(name) if session.workspace.runs.exists(name) else Run(name)
    chosen = preset_name(preset, known.pins.get("preset"))
    values = values_of("prepare", (PrepareRecipe, PrepareOptions), chosen, flags)
    request = plan(RunView(session.workspace, known), chosen, values, refresh=refresh)
    outcome = session.execute(name, request, wait=wait, restart=restart)
    session.workspace.runs.use(name)
    schedule = training_schedule(outcome.record.metrics, chosen)
    for warning in schedule.warnings:
        session.output.warn(warning)
    rows = [*_figures(outcome.record.metrics), ["training", schedule.text]]
    warnings = [*outcome.record.warnings, *schedule.warnings]
    more = {"training": schedule.figures, "warnings": warnings}
    session.finish("prepare", outcome, rows, "twinctl inspect prepare --rows 5, then twinctl train", more)


def _figures(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The metrics for people."""
    tokens, by_role = metrics["tokens"], metrics["tokens_by_role"]
    return [
        ["read", f"{metrics['rows_read']:,} rows: {_counted(metrics['shapes'])}"],
        ["dropped", _counted(metrics["rows_dropped"]) or "none"],
        *([["cleaned", _counted(metrics["cleaned"])]] if metrics["cleaned"] else []),
        ["samples", f"{metrics['train_rows']:,} to train on, {metrics['eval_rows']:,} held out"],
        ["tokens", f"{tokens:,}, {by_role.get('author', 0) / tokens:.0%} the author's; longest {metrics['longest']:,}"],
        ["packed", f"{metrics['packed_rows']:,} rows, {metrics['packing_efficiency']:.1%} full"],
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
