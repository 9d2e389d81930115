"""`twinctl train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twinctl.cli.command import Flags, ModelPathOption, PresetOption, RestartOption, WaitOption, command
from twinctl.cli.session import Session
from twinctl.config.resolve import values_of
from twinctl.config.train import WHAT, TrainOptions, TrainRecipe
from twinctl.phases.train import plan
from twinctl.pipeline.phase import AnyPlan
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, "train", TrainRecipe, TrainOptions, panels={WHAT: ("model", "trained_from")})
def train(
    session: Session,
    flags: Flags,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER_OR_ID", help="Must be the run's; prepare chooses another one.")
    ] = None,
    trained_from: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Train on from what another run trained.")
    ] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Memory, time and disk it will take; do nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not watch: it continues in the background.")] = False,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
) -> None:
    """Fine-tune the run's model on its prepared tokens. After a stop or a kill the same command resumes.

    \b
      twinctl train --plan             what it will take, and whether it fits
      twinctl train                    the preset's recipe
      twinctl train --rank 64          a wider adapter, a result of its own
      twinctl train --method qlora     a 4-bit base: a third of the memory
      twinctl train --max-time 45m     as far as it gets, with an adapter to use
      twinctl train --from RUN         train on from another run's adapter
    """
    run = session.run(preset, model_path)
    session.refuse_contradiction(run, "model", model, "--model")
    values = values_of("train", (TrainRecipe, TrainOptions), run.pins["preset"], flags)
    parent = RunView(session.workspace, session.workspace.run(trained_from)) if trained_from else None
    view = RunView(session.workspace, run)
    plan_of_it = plan(view, values, parent)
    if only_plan:
        from twinctl.cli.forecast import show_forecast
        from twinctl.planning.forecast import forecast

        is_running = session.workspace.artifact(plan_of_it.path(session.workspace)).state() == "running"
        show_forecast(session.output, forecast(view, plan_of_it, alone=is_running))
        return
    _explain_training_on(session, run, plan_of_it)
    work = session.begin if detach else session.execute
    outcome = work(run.name, plan_of_it, wait=wait, restart=restart)
    if outcome is None:
        session.report_background_work("train", run.name, plan_of_it)
    else:
        # A machine that trained a 4-bit base may have no room for a 16-bit one.
        chat = "twinctl chat --4bit" if outcome.record.recipe["method"] == "qlora" else "twinctl chat"
        session.finish("train", outcome, _figures(outcome.record.metrics), f"{chat}, or twinctl export --gguf")


def _explain_training_on(session: Session, run: Run, wanted: AnyPlan) -> None:
    """When more epochs are asked for than a finished training had: that one is not made longer, but can be continued.

    A linear schedule that has ended cannot be made longer.
    """
    record = session.workspace.artifact(run.slots.get("train", wanted.path(session.workspace))).record()
    now = wanted.recipe.model_dump(mode="json")
    if record is None or {name for name in now if record.recipe.get(name) != now[name]} != {"epochs"}:
        return
    before, more = record.recipe["epochs"], now["epochs"] - record.recipe["epochs"]
    if more > 0 and record.inputs == wanted.inputs:
        session.output.say(
            f"a new training of {now['epochs']:g} epochs from the start; the finished one of {before:g} stays. To "
            f"train on from that one: twinctl train --from {run.name} --epochs {more:g}"
        )


def _figures(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The metrics for people. Those that a training did not come to, such as a loss without steps, are None."""

    def number(name: str, form: str) -> str:
        return "none" if metrics[name] is None else format(metrics[name], form)

    held_out = f"{number('base_eval_loss', '.4f')} → {number('eval_loss', '.4f')} (base → twin)"
    return [
        ["steps", f"{metrics['steps']} ({metrics['epochs']:g} epochs)"],
        ["train loss", f"{number('train_loss', '.4f')} on average, {number('last_loss', '.4f')} at the end"],
        ["eval loss", "none: no rows were held out" if metrics["eval_loss"] is None else held_out],
        ["speed", f"{number('tokens_per_second', ',.0f')} tokens/s, {metrics['seconds']:.1f} s"],
        ["memory", f"{metrics['peak_memory_gib']:.2f} GiB at the peak"],
    ]
