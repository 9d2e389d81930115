"""`twinctl chat`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from twinctl.chat.model_selection import ModelSelection, select_models
from twinctl.chat.repl import run_repl
from twinctl.cli.batch_output import asked, generate_all
from twinctl.cli.chat_check import judge
from twinctl.cli.command import Flags, ModelPathOption, PanelCommand, PresetOption, command
from twinctl.cli.session import Session
from twinctl.cli.typer_internals import Context
from twinctl.config.resolve import values_of
from twinctl.config.sampling import SAMPLING, Sampling
from twinctl.errors import UsageError
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)
PANELS = {
    "What is asked": ("prompt", "prompts", "check", "resume"),
    "Who answers": ("base", "compare", "checkpoint", "merged", "gguf", "everyone", "four_bit"),
    SAMPLING: ("greedy",),
}
LAST = {"--gguf": "", "--resume": "0"}  # what these options mean without a value


class ChatCommand(PanelCommand):
    """A command some of whose options can stand without their value."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put the missing values in."""
        whole = []
        for word, following in zip(args, [*args[1:], "-"], strict=False):
            whole += [word, LAST[word]] if word in LAST and following.startswith("-") else [word]
        return super().parse_args(ctx, whole)


@command(app, "chat", Sampling, panels=PANELS, cls=ChatCommand)
def chat(
    session: Session,
    flags: Flags,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="Answer this and end; repeatable; - is the input's text."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="JSON lines to answer, with a JSON line each."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Test the twin on fixed and held-out prompts.")] = False,
    resume: Annotated[
        int | None,
        typer.Option("--resume", metavar="[N]", help="Resume the last conversation, or conversation N."),
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead of the twin.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Ask base and twin, with the same seed.")] = False,
    checkpoint: Annotated[
        int | None,
        typer.Option("--checkpoint", metavar="STEP", help="Ask a checkpoint, also during the training."),
    ] = None,
    merged: Annotated[bool, typer.Option("--merged", help="Ask the merged 16-bit model.")] = False,
    gguf: Annotated[
        str | None,
        typer.Option("--gguf", metavar="[FILE]", help="Ask a GGUF file, or the exported one, through llama.cpp."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Ask all of them: base, twin, and what is exported.")] = False,
    four_bit: Annotated[bool, typer.Option("--4bit", help="Load the weights in 4 bits: a quarter of memory.")] = False,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest token (temperature 0).")] = False,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
) -> None:
    """Talk to the twin. Ctrl-C stops an answer, Ctrl-D leaves.

    \b
      twinctl chat                       a conversation; /help lists its commands
      twinctl chat -p "What is it for?"  one answer, streamed
      twinctl chat -p "…" --compare      base and twin, with the same seed
      twinctl chat -p "…" --all --greedy is an export still the model?
      twinctl chat --prompts ask.jsonl   a JSON line an answer, in batches
      twinctl chat --check               does it end, loop, copy, sound right?
    """
    run = session.run(preset, model_path)
    given = {**flags, "temperature": 0.0} if greedy else flags
    sampling = values_of("chat", (Sampling,), run.pins["preset"], given).build(Sampling)
    wanted = ModelSelection(base, compare, merged, gguf, checkpoint, everyone, four_bit)
    if check and (prompt or prompts or resume is not None):
        raise UsageError("--check asks prompts of its own", "leave out --prompt, --prompts and --resume")
    if check:
        judge(session, run, wanted, sampling)
    elif (questions := asked(prompt, prompts, sampling)) is not None:
        if resume is not None:
            raise UsageError(
                "a conversation is resumed in a terminal", "leave out --resume, or --prompt, --prompts and a pipe"
            )
        groups = select_models(RunView(session.workspace, run), wanted)
        generate_all(session.output, groups, questions, sampling, as_lines=session.output.json or prompts is not None)
    else:
        converse(session, run, wanted, sampling, resume)


def converse(session: Session, run: Run, wanted: ModelSelection, sampling: Sampling, resume: int | None) -> None:
    """A conversation with a person; where the twin's weights hold the base as well, it is there to be compared."""
    from twinctl.chat import transcripts
    from twinctl.chat.check import suggested

    groups = select_models(RunView(session.workspace, run), wanted.with_base_if_free)
    names = [name for group in groups for name in group.names]
    transcript = transcripts.begin(session.workspace, run.name)
    if resume is not None:
        transcript = transcripts.resume(session.workspace, run.name, resume or None)
    run_repl(
        names[0] if wanted.base else next((name for name in names if name != "base"), names[0]),
        lambda: [model for group in groups for model in group.load()],
        sampling,
        transcript,
        prompts=lambda: suggested(RunView(session.workspace, run)),
        together=wanted.compare or wanted.all,
        history=transcripts.folder(session.workspace, run.name) / "history",
        quiet=session.output.quiet,
        command=shlex.join(["twinctl", "chat", "--run", run.name]),
    )
