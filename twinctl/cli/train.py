"""`twinctl train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    ModelPathOption,
    PresetOption,
    QuietOption,
    RestartOption,
    RunOption,
    Session,
    WaitOption,
    WorkspaceOption,
)
from twinctl.config.resolve import values_of
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.phases.train import plan
from twinctl.pipeline.phase import AnyPlan
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def train(
    method: Annotated[str | None, typer.Option(help="lora, qlora (4-bit base) or full.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", "-r", help="LoRA rank.")] = None,
    alpha: Annotated[int | None, typer.Option(help="LoRA alpha.")] = None,
    dropout: Annotated[float | None, typer.Option(help="LoRA dropout.")] = None,
    target_modules: Annotated[
        list[str] | None, typer.Option("--target-modules", help="The layers that get an adapter; repeatable.")
    ] = None,
    rslora: Annotated[bool | None, typer.Option("--rslora/--no-rslora", help="Scale by alpha / √rank.")] = None,
    dora: Annotated[bool | None, typer.Option("--dora/--no-dora", help="Weight-decomposed LoRA.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after so many optimizer steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps of linear warm-up.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="linear, cosine, constant, constant_with_warmup.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw_8bit, adamw_torch_fused, adamw_torch.")] = None,
    neftune_alpha: Annotated[float | None, typer.Option(help="NEFTune's noise on the embeddings.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="The effective batch.")] = None,
    packing: Annotated[bool | None, typer.Option("--packing/--no-packing", help="Several samples a row.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bfloat16, float16 or float32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Adapter initialisation and order of rows.")] = None,
    best: Annotated[
        bool | None, typer.Option("--best/--last", help="Keep the weights of the lowest eval loss.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="End after so many evaluations without a lower loss.")] = None,
    choose_every: Annotated[
        float | None, typer.Option(help="Steps (below 1: a fraction) between evaluations for --best and --patience.")
    ] = None,
    eval_every: Annotated[float | None, typer.Option(help="The same for evaluations that choose nothing.")] = None,
    samples: Annotated[int | None, typer.Option(help="Prompts answered at each evaluation.")] = None,
    save_every: Annotated[
        float | None, typer.Option(help="Steps between checkpoints; below 1, a fraction of all steps.")
    ] = None,
    keep: Annotated[int | None, typer.Option(help="Checkpoints kept.")] = None,
    micro_batch: Annotated[
        str | None, typer.Option(help="auto, or rows a forward pass; changes memory, not the result.")
    ] = None,
    gradient_checkpointing: Annotated[str | None, typer.Option(help="auto, on or off.")] = None,
    memory_limit: Annotated[float | None, typer.Option(help="GiB of the GPU to use at most.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Stop in time, with an adapter: 45m, 1h30m.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    tracking: Annotated[str | None, typer.Option(help="auto, comet, comet-offline or none.")] = None,
    model: Annotated[str | None, typer.Option(help="Must be the run's; another one is prepared first.")] = None,
    trained_from: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Train on from what another run trained.")
    ] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Memory, time and disk it will take; do nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not watch: it goes on in the background.")] = False,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    run_name: RunOption = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Fine-tune the run's model on its prepared tokens. Stopped or killed, the same command goes on.

    \b
      twinctl train --plan             what it will take, and whether it fits
      twinctl train                    the preset's recipe
      twinctl train --rank 64          a wider adapter, a result of its own
      twinctl train --method qlora     a 4-bit base: a third of the memory
      twinctl train --max-time 45m     as far as it comes, with an adapter to use
      twinctl train --from RUN         train on from another run's adapter
    """
    fields = {**TrainRecipe.model_fields, **TrainOptions.model_fields}
    flags = {key: value for key, value in locals().items() if key in fields}
    session = Session.open(workspace, run_name, json=json, quiet=quiet)
    run = session.run(preset, model_path)
    session.refuse_contradiction(run, "model", model, "--model")
    values = values_of("train", (TrainRecipe, TrainOptions), run.pins["preset"], flags)
    parent = RunView(session.workspace, session.workspace.run(trained_from)) if trained_from else None
    view = RunView(session.workspace, run)
    plan_of_it = plan(view, values, parent)
    if only_plan:
        _show_plan(session, view, plan_of_it)
        return
    _tell_how_to_train_on(session, run, plan_of_it)
    work = session.begin if detach else session.execute
    outcome = work(run.name, plan_of_it, wait=wait, restart=restart)
    if outcome is None:
        session.tell_it_goes_on("train", run.name, plan_of_it)
    else:
        # Whoever trained a 4-bit base may have no room for a 16-bit one.
        talk = "twinctl chat --4bit" if outcome.record.recipe["method"] == "qlora" else "twinctl chat"
        session.finish("train", outcome, _figures(outcome.record.metrics), f"{talk}, or twinctl export --gguf")


def _show_plan(session: Session, view: RunView, wanted: AnyPlan) -> None:
    from twinctl.cli.forecast import show
    from twinctl.planning.forecast import forecast

    is_running = session.workspace.artifact(wanted.path(session.workspace)).state() == "running"
    show(session.output, forecast(view, wanted, alone=is_running))


def _tell_how_to_train_on(session: Session, run: Run, wanted: AnyPlan) -> None:
    """When more epochs are asked for than a finished training had: that one is not stretched, but can be gone on from.

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
