"""`twinctl card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinctl.cli.command import command
from twinctl.cli.session import Session
from twinctl.errors import UsageError
from twinctl.pipeline.kind import Kind
from twinctl.publishing import Card, render

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def card(
    session: Session,
    repo: Annotated[
        str | None, typer.Argument(metavar="[REPO]", help="OWNER/NAME, for the commands in it.", show_default=False)
    ] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="Of the adapter.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Of the 16-bit model (the default, once exported).")] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="Of the GGUF files.")] = False,
    sample: Annotated[bool, typer.Option("--sample/--no-sample", help="A held-out prompt and its answer.")] = True,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it to this file, its pictures next to it.")
    ] = None,
) -> None:
    """The model card that push would send, made from the records.

    \b
      twinctl card me/my-twin
      twinctl card me/my-twin-GGUF --gguf -o README.md
    """
    kinds = [kind for kind, wanted in {Kind.ADAPTER: adapter, Kind.MODEL: merged, Kind.GGUF: gguf}.items() if wanted]
    if len(kinds) > 1:
        raise UsageError("a card is of one kind", "choose one of --adapter, --merged and --gguf")
    view = session.view()
    there = (kind for kind in (Kind.MODEL, Kind.ADAPTER) if view.find(kind))
    kind = kinds[0] if kinds else next(there, Kind.MODEL)
    made = render(view, kind, repo, sample=sample)
    written = _write(made, out) if out else []
    if session.output.json:
        document = {"command": "card", "run": view.name, "kind": kind, "repo": repo, "files": sorted(made.files)}
        session.output.document({**document, "text": made.text, "written": [str(path) for path in written]})
    elif out:
        session.output.line("\n".join(str(path) for path in written))
    else:
        session.output.line(made.text.rstrip("\n"))


def _write(card: Card, out: Path) -> list[Path]:
    """The card, and its files where it looks for them."""
    out.write_text(card.text, encoding="utf-8")
    for name, content in card.files.items():
        (out.parent / name).write_bytes(content)
    return [out, *(out.parent / name for name in card.files)]
