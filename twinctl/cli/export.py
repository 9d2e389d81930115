"""`twinctl export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from twinctl.cli.command import Flags, ModelPathOption, PresetOption, RestartOption, WaitOption, command
from twinctl.cli.output import size
from twinctl.cli.session import Session
from twinctl.config.export import FILES, ExportOptions
from twinctl.config.resolve import values_of
from twinctl.phases.export import ExportRequest, Verify, copy_files, require_modelfiles
from twinctl.phases.export import export as export_results
from twinctl.pipeline.execute import Outcome

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, "export", ExportOptions, panels={FILES: ("merged", "adapter", "with_gguf", "ollama", "output")})
def export(
    session: Session,
    flags: Flags,
    precision: Annotated[
        list[str] | None,
        typer.Argument(metavar="[16bit|4bit]...", help="Which merged models; means --merged.", show_default=False),
    ] = None,
    merged: Annotated[bool, typer.Option("--merged", help="The merged model, as safetensors (the default).")] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter as it was trained.")] = False,
    with_gguf: Annotated[bool, typer.Option("--gguf", help="GGUF files for llama.cpp, Ollama and LM Studio.")] = False,
    ollama: Annotated[bool, typer.Option("--ollama", help="GGUF files with a Modelfile; means --gguf.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A folder to bring the files to.", show_default=False),
    ] = None,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Prove existing files again; or make files without a proof."),
    ] = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
) -> None:
    """Make the exportable files; each is a cached result of its own, and one merge serves every GGUF.

    \b
      twinctl export                   the merged 16-bit model
      twinctl export --merged 4bit     the same, a third as large
      twinctl export --gguf            a q4_k_m GGUF file
      twinctl export -q f16 -q q8_0    two GGUF files from the same merge
      twinctl export --gguf -o DIR     the files in that folder
    """
    view = session.view(preset, model_path)
    asked = {**flags, "precision": precision or None}
    files = values_of("export", (ExportOptions,), view.run.pins["preset"], asked).build(ExportOptions)
    if output is not None:
        from twinctl.phases.export_dir import require_place

        require_place(output)
    wants_gguf = with_gguf or "quant" in flags or ollama
    wants_merged = merged or bool(precision) or not (adapter or wants_gguf)
    request = ExportRequest(
        adapter=adapter,
        precision=files.precision if wants_merged else (),
        quant=files.quant if wants_gguf else (),
        verify=Verify.UNPROVEN if verify is None else Verify.ALL if verify else Verify.NONE,
        wait=wait,
        restart=restart,
    )
    outcomes = export_results(view, request, session)
    _finish(session, outcomes)
    if output is not None:
        from twinctl.phases.export_dir import host, take_away_lines

        for line in take_away_lines(copy_files(outcomes, output), host(), view.name):
            session.output.say(line)
    if ollama:
        require_modelfiles(outcomes)


def _finish(session: Session, outcomes: list[Outcome]) -> None:
    files = [(outcome.path, file) for outcome in outcomes for file in outcome.record.files]
    if session.output.json:
        documents = [{**asdict(file), "path": str(folder / file.name)} for folder, file in files]
        last = session.document("export", outcomes[-1])
        last["cached"] = all(outcome.cached for outcome in outcomes)
        last["metrics"] = {**last["metrics"], "files": documents}
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
    session.output.table([[file.name, size(file.bytes), file.sha256[:12]] for _, file in files])
    session.output.say("next: twinctl push OWNER/NAME --dry-run")
