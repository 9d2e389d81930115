"""`twinctl compare`."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from twinctl.cli.command import WaitOption, command
from twinctl.cli.session import Session
from twinctl.config.resolve import values_of
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.errors import UsageError
from twinctl.phases.train import plan
from twinctl.pipeline.execute import Outcome
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)
METHODS = get_args(TrainRecipe.model_fields["method"].annotation)
COLUMNS = {
    "memory": ("peak_memory_gib", "{:.2f} GiB"),
    "speed": ("tokens_per_second", "{:,.0f} tokens/s"),
    "steps": ("steps", "{}"),
    "train loss": ("last_loss", "{:.4f}"),
    "eval loss": ("eval_loss", "{:.4f}"),
}


@command(app)
def compare(
    session: Session,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Trained runs to compare.", show_default=False)
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Train the run by each of these, in runs of their own: full,lora,qlora.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps of each training.")] = None,
    wait: WaitOption = False,
) -> None:
    """Trainings side by side: memory, speed and loss. With --methods they are made first, one recipe for all.

    \b
      twinctl compare --methods full,lora,qlora --max-steps 30
      twinctl compare rank-16 rank-64
    """
    if bool(runs) == bool(methods):
        raise UsageError(
            "give the runs to compare, or --methods", "twinctl compare --methods lora,qlora --max-steps 30"
        )
    if runs:
        views = {name: RunView(session.workspace, session.workspace.runs.get(name)) for name in runs}
        outcomes = {name: Outcome(view.trained(), cached=True) for name, view in views.items()}
    else:
        names = [name.strip() for name in (methods or "").split(",")]
        if unknown := [name for name in names if name not in METHODS]:
            raise UsageError(f"there is no method “{unknown[0]}”", f"choose from {', '.join(METHODS)}")
        run = session.run()
        outcomes = {name: _made(session, run, name, max_steps, wait=wait) for name in names}
    _show(session, outcomes)


def _made(session: Session, run: Run, method: str, max_steps: int | None, *, wait: bool) -> Outcome:
    """The training by that method, in the run NAME-METHOD, which has the tokens and the base of `run`."""
    tokens = RunView(session.workspace, run).need(Kind.TOKENS)
    name = f"{run.name}-{method}"
    session.workspace.runs.point(name, tokens.slot, tokens.path, run.pins)
    fork = RunView(session.workspace, session.workspace.runs.get(name))
    flags = {"method": method, "max_steps": max_steps}
    values = values_of("train", (TrainRecipe, TrainOptions), run.pins["preset"], flags)
    session.output.say(f"{method}:")
    return session.execute(name, plan(fork, values), wait=wait)


def _show(session: Session, outcomes: dict[str, Outcome]) -> None:
    facts = {name: _facts(outcome) for name, outcome in outcomes.items()}
    if session.output.json:
        session.output.document({"command": "compare", "trainings": [{"name": n, **f} for n, f in facts.items()]})
        return
    rows = [
        [name, *("–" if values[key] is None else form.format(values[key]) for key, form in COLUMNS.values())]
        for name, values in facts.items()
    ]
    session.output.table(rows, header=["", *COLUMNS])


def _facts(outcome: Outcome) -> dict[str, Any]:
    """What is compared, and where it comes from."""
    record = outcome.record
    device: dict[str, Any] = next((line for line in reversed(outcome.artifact.attempts()) if "device_name" in line), {})
    shown = {key: record.metrics.get(key) for key, _ in COLUMNS.values()}
    more = {key: record.metrics.get(key) for key in ("base_eval_loss", "tokens", "seconds", "epochs")}
    about = {key: device.get(key) for key in ("device_name", "dtype", "micro_batch", "gradient_checkpointing")}
    method = record.recipe.get("method")
    return {"method": method, **shown, **more, **about, "bytes": record.size, "path": str(outcome.artifact.out)}
