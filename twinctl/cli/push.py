"""`twinctl push`: so far only what it would send."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from twinctl.cli.export import files_of
from twinctl.cli.output import size
from twinctl.cli.session import DebugOption, JsonOption, PresetOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import UsageError
from twinctl.phases.execute import Outcome
from twinctl.phases.upstream import need

app = typer.Typer(rich_markup_mode=None, add_completion=False)
# The Hub's own rule for names: letters, digits, “-”, “_” and “.”, at most 96, no “--” or “..”, no such mark at an end.
REPO = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9]([\w.-]{0,94}\w)?")


@app.command()
def push(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hugging Face Hub.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files, sizes and target; send nothing.")] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="The merged 16-bit model (the default).")] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="The newest GGUF file.")] = False,
    preset: PresetOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Show exactly what would go to the Hub: every file with its size and digest, and the target.

    \b
      twinctl push me/my-twin --dry-run            the merged model
      twinctl push me/my-twin --adapter --dry-run  the adapter
    """
    if not REPO.fullmatch(repo):
        raise UsageError(
            f"“{repo}” is not a repository's name", "write OWNER/NAME, for example: twinctl push me/my-twin --dry-run"
        )
    if not dry_run:
        raise UsageError(
            "this version of twinctl does not send files yet", f"see what would be sent: twinctl push {repo} --dry-run"
        )
    session = Session.open(workspace, run, json=json, quiet=quiet)
    kinds = [kind for kind, wanted in {"adapter": adapter, "model": merged, "gguf": gguf}.items() if wanted] or [
        "model"
    ]
    files = []
    for kind in kinds:
        _, artifact, record = need(session.workspace, session.run(preset), kind)
        artifact.check(session.workspace.memo, every_byte=True)
        files += files_of(Outcome(artifact, record, cached=True))
    total = sum(file["bytes"] for file in files)
    if json:
        metrics = {"repo": repo, "private": True, "files": files, "bytes": total}
        session.output.document(
            {"command": "push", "phase": "push", "state": "dry-run", "metrics": metrics, "warnings": []}
        )
        return
    session.output.line(f"would send {len(files)} files, {size(total)}, to the private model repository {repo}:")
    session.output.table([[file["name"], size(file["bytes"]), file["sha256"][:12]] for file in files])
    session.output.say("nothing was sent")
