"""`twinctl export`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from twinctl.cli.output import size
from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    ModelPathOption,
    PresetOption,
    RestartOption,
    RunOption,
    Session,
    WaitOption,
    WorkspaceOption,
)
from twinctl.phases import gguf, merge
from twinctl.phases.execute import Outcome
from twinctl.phases.upstream import need, trained
from twinctl.recipes.export import ExportOptions, GgufRecipe
from twinctl.settings.resolve import values_of
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def export(
    merged: Annotated[
        bool, typer.Option("--merged", help="The merged 16-bit model, as safetensors (the default).")
    ] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter as it was trained.")] = False,
    with_gguf: Annotated[bool, typer.Option("--gguf", help="GGUF files for llama.cpp, Ollama and LM Studio.")] = False,
    quant: Annotated[
        list[str] | None, typer.Option("--quant", "-q", help="f32, f16, bf16 or q8_0; repeatable; means --gguf.")
    ] = None,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    debug: DebugOption = False,
) -> None:
    """Make the files to take away; each is a cached result of its own, and one merge serves every GGUF.

    \b
      twinctl export                   the merged 16-bit model
      twinctl export --gguf            a q8_0 GGUF file
      twinctl export -q f16 -q q8_0    two GGUF files from the same merge
    """
    session = Session.open(workspace, run, json=json, quiet=quiet)
    thread = session.run(preset, model_path)
    options = values_of("export", (ExportOptions,), thread.pins["preset"], {"quant": quant}).build(ExportOptions)
    outcomes = []
    if adapter:
        _, artifact, record = need(session.workspace, thread, "adapter")
        outcomes.append(Outcome(artifact, record, cached=True))
    wants_gguf = with_gguf or bool(quant)
    if merged or wants_gguf or not adapter:
        model = model_of(session, thread, wait=wait, restart=restart)
        outcomes += [model] if merged or not wants_gguf else []
    for name in options.quant if wants_gguf else ():
        recipe = GgufRecipe(name=thread.name, quant=name)
        plan = gguf.plan(session.workspace, session.run(), recipe)
        outcomes.append(session.execute(thread.name, plan, wait=wait, restart=restart))
    _finish(session, outcomes)


def model_of(session: Session, run: Run, *, wait: bool = False, restart: bool = False) -> Outcome:
    """The run's whole 16-bit model: the adapter merged into its base, or what full fine-tuning made."""
    _, artifact, record = trained(session.workspace, run)
    if record.produces == "model":
        return Outcome(artifact, record, cached=True)
    return session.execute(run.name, merge.plan(session.workspace, run), wait=wait, restart=restart)


def files_of(outcome: Outcome) -> list[dict[str, Any]]:
    """Name, bytes, sha256 and path of each file of a result."""
    return [
        {
            "name": item["name"],
            "bytes": item["bytes"],
            "sha256": item["sha256"],
            "path": str(outcome.artifact.out / item["name"]),
        }
        for item in outcome.record.files
    ]


def _finish(session: Session, outcomes: list[Outcome]) -> None:
    files = [file for outcome in outcomes for file in files_of(outcome)]
    if session.output.json:
        last = session.document("export", outcomes[-1])
        last["cached"] = all(outcome.cached for outcome in outcomes)
        last["metrics"] = {**last["metrics"], "files": files}
        session.output.document({**last, "artifacts": [session.document("export", outcome) for outcome in outcomes]})
        return
    for outcome in outcomes:
        how = "already done (cached)" if outcome.cached else "done"
        session.output.line(f"{outcome.record.slot}: {how}  {outcome.artifact.out}")
    session.output.table([[file["name"], size(file["bytes"]), file["sha256"][:12]] for file in files])
    session.output.say("next: twinctl push OWNER/NAME --dry-run")
