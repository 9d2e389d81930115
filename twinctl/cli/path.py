"""`twinctl path`."""

from __future__ import annotations

from typing import Annotated

import typer

from twinctl.cli.session import DebugOption, JsonOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import UsageError
from twinctl.phases import declared
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import find, need
from twinctl.pipeline.staleness import stale_reasons
from twinctl.workspace.artifact import Artifact, Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def path(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="tokens, adapter, model or gguf; all without.")
    ] = None,
    run_name: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Print where a result lies: a folder, or the GGUF file itself.

    \b
      twinctl path adapter
      llama-cli -m "$(twinctl path gguf)"
    """
    session = Session.open(workspace, run_name, json=json, quiet=quiet)
    run = session.run()
    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UsageError(f"there is no kind “{kind}”", f"kinds: {', '.join(kinds)}")
    if kind is not None:
        _, artifact, record = need(session.workspace, run, kind)
        paths = {kind: _place(artifact, record)}
        for reason in stale_reasons(session.workspace, run, record, declared(record.phase)):
            session.output.warn(f"stale: {reason}")
    else:
        found = {name: find(session.workspace, run, name) for name in kinds}
        paths = {name: _place(item[1], item[2]) for name, item in found.items() if item}
    if json:
        session.output.document({"command": "path", "run": run.name, "paths": paths})
    elif kind is not None:
        session.output.line(paths[kind])
    else:
        session.output.table([[name, place] for name, place in paths.items()])


def _place(artifact: Artifact, record: Record) -> str:
    is_file = record.produces == "gguf"
    return str((artifact.out / record.files[0]["name"] if is_file else artifact.out).resolve())
