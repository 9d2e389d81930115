"""`twinctl path`."""

from __future__ import annotations

from typing import Annotated

import typer

from twinctl.cli.command import command
from twinctl.cli.session import Session
from twinctl.errors import UsageError
from twinctl.phases import declared
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def path(
    session: Session,
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="tokens, adapter, model or gguf; all without.")
    ] = None,
) -> None:
    """Print the path of a result: a folder, or the GGUF file itself.

    \b
      twinctl path adapter
      llama-cli -m "$(twinctl path gguf)"
    """
    run = session.run()
    kinds = [each.value for each in Kind]
    if kind is not None and kind not in kinds:
        raise UsageError(f"there is no kind “{kind}”", f"kinds: {', '.join(kinds)}")
    view = RunView(session.workspace, run)
    if kind is not None:
        result = view.need(Kind(kind))
        paths = {kind: _location(result)}
        for reason in view.stale_reasons(result.record, declared(result.record.phase)):
            session.output.warn(f"stale: {reason}")
    else:
        results = {name: view.find(Kind(name)) for name in kinds}
        paths = {name: _location(result) for name, result in results.items() if result}
    if session.output.json:
        session.output.document({"command": "path", "run": run.name, "paths": paths})
    elif kind is not None:
        session.output.line(paths[kind])
    else:
        session.output.table([[name, place] for name, place in paths.items()])


def _location(result: Result) -> str:
    """The file of a GGUF result, the folder of another."""
    if result.kind != Kind.GGUF:
        return str(result.out.resolve())
    names = [file.name for file in result.record.files]  # a Modelfile and a report are next to it
    return str((result.out / next(name for name in names if name.endswith(".gguf"))).resolve())
