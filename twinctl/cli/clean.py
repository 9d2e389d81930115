"""`twinctl clean`."""

from __future__ import annotations

from typing import Annotated

import typer

from twinctl.cli.command import command
from twinctl.cli.output import size
from twinctl.cli.session import Session
from twinctl.workspace.clean import clean as clean_workspace
from twinctl.workspace.clean import survey

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, run=False)
def clean(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
) -> None:
    """Remove results that no run points to (nor anything made from them), and what crashes left.

    \b
      twinctl clean --dry-run
      twinctl clean
    """
    workspace, output = session.workspace, session.output
    sweep = survey(workspace) if dry_run else clean_workspace(workspace)
    if session.output.json:
        removed = [{"path": str(workspace.root / it.path), "bytes": it.bytes, "reason": it.reason} for it in sweep.gone]
        kept = [{"path": str(workspace.root / it.path), "reason": it.reason} for it in sweep.kept]
        facts = {"dry_run": dry_run, "freed_bytes": sweep.bytes, "removed": removed, "kept": kept}
        output.document({"command": "clean", **facts})
        return
    for item in sweep.kept:
        output.say(f"stays: {item.path}: {item.reason}")
    if not sweep.gone:
        output.line(f"nothing to clean in {workspace.root}")
        return
    output.table([[item.path, size(item.bytes), item.reason] for item in sweep.gone], header=["what", "size", "why"])
    output.line(f"{'would free' if dry_run else 'freed'} {size(sweep.bytes)}")
    if dry_run:
        output.say("remove it: twinctl clean")
