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
from twinctl.phases.train import plan
from twinctl.recipes.train import TrainOptions, TrainRecipe
from twinctl.settings.resolve import values_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def train(
    method: Annotated[str | None, typer.Option(help="lora, qlora (4-bit base) or full.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", "-r", help="LoRA rank.")] = None,
    alpha: Annotated[int | None, typer.Option(help="LoRA alpha.")] = None,
    dropout: Annotated[float | None, typer.Option(help="LoRA dropout.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after so many optimizer steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps of linear warm-up.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="linear, cosine, constant, constant_with_warmup.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw_8bit, adamw_torch_fused, adamw_torch.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="The effective batch.")] = None,
    packing: Annotated[bool | None, typer.Option("--packing/--no-packing", help="Several samples a row.")] = None,
    seed: Annotated[int | None, typer.Option(help="Adapter initialisation and order of rows.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Rows a forward pass; changes memory, not the result.")
    ] = None,
    gradient_checkpointing: Annotated[str | None, typer.Option(help="auto, on or off.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    tracking: Annotated[str | None, typer.Option(help="auto, comet, comet-offline or none.")] = None,
    model: Annotated[str | None, typer.Option(help="Must be the run's; another one is prepared first.")] = None,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Fine-tune the run's model on its prepared tokens. Stopped or killed, the same command goes on.

    \b
      twinctl train                    the preset's recipe
      twinctl train --rank 64          a wider adapter, a result of its own
      twinctl train --method qlora     a 4-bit base: a third of the memory
      twinctl train --max-steps 20     a quick look
    """
    flags = {
        key: value
        for key, value in locals().items()
        if key in {**TrainRecipe.model_fields, **TrainOptions.model_fields}
    }
    session = Session.open(workspace, run, json=json, quiet=quiet)
    thread = session.run(preset, model_path)
    session.refuse_contradiction(thread, "model", model, "--model")
    values = values_of("train", (TrainRecipe, TrainOptions), thread.pins["preset"], flags)
    outcome = session.execute(thread.name, plan(session.workspace, thread, values), wait=wait, restart=restart)
    session.finish("train", outcome, _figures(outcome.record.metrics), "twinctl chat, or twinctl export --gguf")


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
