"""`twinctl demo`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from twinctl.api import Project
from twinctl.cli.command import command
from twinctl.cli.output import Output, size
from twinctl.cli.session import Session
from twinctl.demo.showcase import Showcase
from twinctl.errors import CheckFailed
from twinctl.pipeline.execute import Outcome
from twinctl.pipeline.kind import Kind

app = typer.Typer(rich_markup_mode=None, add_completion=False)
RUN = "tiny"
SHOWN = 3
LIMIT = 96


@command(app, workspace=False, run=False)
def demo(
    output: Output,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to work.")] = Path("twinctl-demo"),
) -> None:
    """All phases on the bundled tiny model and author, then base and twin side by side on held-out prompts.

    \b
      twinctl demo
      twinctl demo /tmp/look
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    session = Session.open(Path(".twinctl"), RUN, json=output.json, quiet=output.quiet)
    project = Project(session.workspace, RUN, session)
    prepared = project.prepare(preset=RUN)
    trained = project.train(tracking="none")
    exported = project.export(precision=["16bit"], quant=["q8_0"])
    showcase = ask_base_and_twin(session, project, trained)
    _report(session, folder, showcase, [prepared, trained, *exported])
    if not showcase.kept:
        raise CheckFailed("the twin does not sound as it should", "look at: twinctl inspect train")


def ask_base_and_twin(session: Session, project: Project, trained: Outcome) -> Showcase:
    """Ask base and twin, loaded once, every held-out prompt, greedily."""
    prompts = project.held_out_prompts()
    session.output.say("chat: loading Unsloth and the twin")
    with project.chat(with_base=True, temperature=0.0, max_new_tokens=LIMIT) as chat:
        session.output.say(f"chat: asking base and twin {len(prompts)} held-out prompts")
        twin = chat.ask_each(prompts)
        base = chat.ask_each(prompts, model="base")
    return Showcase(prompts, base, twin, trained.metrics["base_eval_loss"], trained.metrics["eval_loss"])


def _report(session: Session, folder: Path, showcase: Showcase, outcomes: list[Outcome]) -> None:
    figures = {
        "prompts": len(showcase.prompts),
        "twin_manner": showcase.twin_manner,
        "base_manner": showcase.base_manner,
        "ended_by_eos": showcase.ended,
        "base_eval_loss": showcase.base_eval_loss,
        "eval_loss": showcase.eval_loss,
    }
    output = session.output
    if output.json:
        phases = [session.document("demo", outcome) for outcome in outcomes]
        output.document({"command": "demo", "state": "complete", "metrics": figures, "phases": phases})
        return
    for prompt, base, twin in list(zip(showcase.prompts, showcase.base, showcase.twin, strict=True))[:SHOWN]:
        output.line(f"\n{prompt}")
        output.table([["  base", base.text], ["  twin", twin.text]])
    output.line(f"\nover {len(showcase.prompts)} held-out prompts, answered greedily:")
    output.table(
        [
            ["  the author's style", f"base {showcase.base_manner:.0%}, twin {showcase.twin_manner:.0%}"],
            ["  ended by EOS", f"{showcase.ended:.0%} of both"],
            [
                "  eval loss",
                f"base {showcase.base_eval_loss:.3f}, twin {showcase.eval_loss:.3f} ({-showcase.loss_fall:+.0%})",
            ],
        ]
    )
    model = session.view().need(Kind.MODEL)
    artifact, record = model.artifact, model.record
    output.line(f"\ntwinctl push would send {len(record.files)} files, {size(record.size)}, from {artifact.out}")
    output.say(f"\nnext:\n  cd {folder}\n  twinctl chat\n  twinctl status\n  twinctl push you/tiny-twin --dry-run")
