"""`twinctl push`: so far only what it would send."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from twinctl.cli.export import files_of
from twinctl.cli.output import size
from twinctl.cli.session import DebugOption, JsonOption, PresetOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import UsageError
from twinctl.phases.execute import Outcome
from twinctl.phases.stale import require_current
from twinctl.phases.upstream import need
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.run import Run

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
    kinds = [kind for kind, wanted in {"adapter": adapter, "model": merged, "gguf": gguf}.items() if wanted]
    thread = session.run(preset)
    _show(session, repo, [file for kind in kinds or ["model"] for file in _files(session, thread, kind)])


def _files(session: Session, run: Run, kind: str) -> list[dict[str, Any]]:
    """The files of the run's newest result of that kind, every byte checked, and made of what was trained last."""
    _, artifact, record = need(session.workspace, run, kind)
    require_current(session.workspace, run, record)
    artifact.check(file_sha256, run.name)
    return files_of(Outcome(artifact, record, cached=True))


def _show(session: Session, repo: str, files: list[dict[str, Any]]) -> None:
    total = sum(file["bytes"] for file in files)
    if session.output.json:
        metrics = {"repo": repo, "private": True, "files": files, "bytes": total}
        document = {"command": "push", "phase": "push", "state": "dry-run", "metrics": metrics, "warnings": []}
        session.output.document(document)
        return
    session.output.line(f"would send {len(files)} files, {size(total)}, to the private model repository {repo}:")
    session.output.table([[file["name"], size(file["bytes"]), file["sha256"][:12]] for file in files])
    session.output.say("nothing was sent")
