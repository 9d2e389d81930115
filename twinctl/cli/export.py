"""`twinctl export`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
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
from twinctl.cli.watch import Viewer
from twinctl.config.export import QUANTS, ExportOptions, GgufRecipe, Merge4bitRecipe, MergeRecipe
from twinctl.config.resolve import values_of
from twinctl.errors import ConfigError
from twinctl.phases import gguf, merge, merge_4bit
from twinctl.pipeline.execute import Outcome
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.verification.verify_artifact import is_proven, prove_again

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def export(
    precision: Annotated[
        list[str] | None,
        typer.Argument(metavar="[16bit|4bit]...", help="Which merged models; means --merged.", show_default=False),
    ] = None,
    merged: Annotated[bool, typer.Option("--merged", help="The merged model, as safetensors (the default).")] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter as it was trained.")] = False,
    with_gguf: Annotated[bool, typer.Option("--gguf", help="GGUF files for llama.cpp, Ollama and LM Studio.")] = False,
    quant: Annotated[
        list[str] | None, typer.Option("--quant", "-q", help=f"{', '.join(QUANTS)}; repeatable; means --gguf.")
    ] = None,
    ollama: Annotated[bool, typer.Option("--ollama", help="GGUF files with a Modelfile; means --gguf.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder to bring the files to.", show_default=False)
    ] = None,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    run_name: RunOption = None,
    workspace: WorkspaceOption = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Prove again what is there; or make files without a proof."),
    ] = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    debug: DebugOption = False,
) -> None:
    """Make the files to take away; each is a cached result of its own, and one merge serves every GGUF.

    \b
      twinctl export                   the merged 16-bit model
      twinctl export --merged 4bit     the same, a third as large
      twinctl export --gguf            a q4_k_m GGUF file
      twinctl export -q f16 -q q8_0    two GGUF files from the same merge
      twinctl export --gguf -o DIR     the files there, to take away
    """
    session = Session.open(workspace, run_name, json=json, quiet=quiet)
    run = session.run(preset, model_path)
    asked = {"quant": quant or None, "precision": precision or None}
    options = values_of("export", (ExportOptions,), run.pins["preset"], asked).build(ExportOptions)
    if output is not None:
        from twinctl.phases.export_dir import require_place

        require_place(output)
    wants_gguf = with_gguf or bool(quant) or ollama
    wants_merged = merged or bool(precision) or not (adapter or wants_gguf)
    if wants_gguf:
        gguf.require_writable(RunView(session.workspace, run))  # before the merge, which takes long
    outcomes = []
    if adapter:
        outcomes.append(Outcome(session.view().need(Kind.ADAPTER), cached=True))
    made = dict.fromkeys(options.precision if wants_merged else ())
    if made or wants_gguf:
        model = model_of(session, session.view(), verify=verify is not False, wait=wait, restart=restart)
        # What files are made of is proven before them; again only where it was asked for itself.
        model = _proven(session, model, verify if "16bit" in made or not verify else None, wait)
        outcomes += [model] if "16bit" in made else []
    if "4bit" in made:
        plan = merge_4bit.plan(session.view(), Merge4bitRecipe(), verify=verify is not False)
        made_now = session.execute(run.name, plan, wait=wait, restart=restart)
        outcomes.append(_proven(session, made_now, verify, wait))
    for name in options.quant if wants_gguf else ():
        recipe = GgufRecipe(name=run.name, quant=name)
        of_file = gguf.plan(session.view(), recipe, verify=verify is not False)
        made_now = session.execute(run.name, of_file, wait=wait, restart=restart)
        outcomes.append(_proven(session, made_now, verify, wait))
    _finish(session, outcomes)
    if output is not None:
        _take_away(session, outcomes, output, run.name)
    if ollama:
        _require_modelfiles(outcomes)


def _take_away(session: Session, outcomes: list[Outcome], folder: Path, run: str) -> None:
    """The files in a folder of the person's; in one for each kind where several have files of one name."""
    from twinctl.phases.export_dir import bring, host, take_away_lines

    names = Counter(entry["name"] for outcome in outcomes for entry in outcome.record.files)
    apart = any(count > 1 for count in names.values())
    placed: list[Path] = []
    for outcome in outcomes:
        own = folder / outcome.record.slot if apart else folder
        own.parent.mkdir(parents=True, exist_ok=True)
        placed += bring([outcome.artifact.out / entry["name"] for entry in outcome.record.files], own)
    for line in take_away_lines(placed, host(), run):
        session.output.say(line)


def _require_modelfiles(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.record.produces == "gguf" and not (outcome.artifact.out / gguf.MODELFILE).is_file():
            raise ConfigError(
                "; ".join(outcome.record.warnings) or "there is no Modelfile",
                "use the file with llama.cpp or LM Studio",
            )


def _proven(session: Session, outcome: Outcome, verify: bool | None, wait: bool) -> Outcome:
    """With a proof, unless none is wanted: what was made without one gets it, what has one a new one if asked."""
    record = outcome.record
    if verify is False or record.phase in ("train", "pull") or (is_proven(record) and not (verify and outcome.cached)):
        return outcome
    with Viewer(session.output, record.slot) as viewer:
        result = prove_again(session.view(), outcome.result, viewer.show, wait=wait)
    return replace(outcome, result=result)


def model_of(
    session: Session, view: RunView, *, verify: bool = True, wait: bool = False, restart: bool = False
) -> Outcome:
    """The run's whole 16-bit model: the adapter merged into its base, or what full fine-tuning made."""
    trained = view.trained()
    if trained.kind == Kind.MODEL:
        return Outcome(trained, cached=True)
    return session.execute(view.name, merge.plan(view, MergeRecipe(), verify=verify), wait=wait, restart=restart)


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
        if proof := outcome.record.metrics.get("proof"):
            session.output.line(
                f"  proven: mean KL {proof['kl']:.1e} to the trained model over {proof['positions']:,} positions, "
                f"the same most likely token in {proof['top1']:.1%}"
            )
    session.output.table([[file["name"], size(file["bytes"]), file["sha256"][:12]] for file in files])
    session.output.say("next: twinctl push OWNER/NAME --dry-run")
