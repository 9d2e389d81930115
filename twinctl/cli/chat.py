"""`twinctl chat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from twinctl.chat.find import base_files, twin_files
from twinctl.chat.repl import converse, typed_prompts
from twinctl.chat.speaker import Answer, Speaker
from twinctl.cli.output import Output
from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    ModelPathOption,
    PresetOption,
    QuietOption,
    RunOption,
    Session,
    WorkspaceOption,
)
from twinctl.recipes.chat import Sampling
from twinctl.settings.resolve import values_of
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def chat(
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="Answer this and end; repeatable.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead of the twin.")] = False,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always the likeliest token (temperature 0).")] = False,
    temperature: Annotated[float | None, typer.Option(help="Higher is freer.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="The longest answer in tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and prompt give the same answer.")] = None,
    model_path: ModelPathOption = None,
    preset: PresetOption = None,
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Talk to the twin. Ctrl-C stops an answer, Ctrl-D leaves.

    \b
      twinctl chat                                    a conversation
      twinctl chat -p "What is a harbour for?"        one answer, streamed
      twinctl chat -p "What is a harbour for?" --base what the base model says
      twinctl chat -p "…" --json                      one JSON line an answer
    """
    flags = {
        "temperature": 0.0 if greedy else temperature,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    session = Session.open(workspace, run, json=json, quiet=quiet)
    thread = session.run(preset, model_path)
    sampling = values_of("chat", (Sampling,), thread.pins["preset"], flags).build(Sampling)
    speaker = load_speaker(session, thread, base=base)
    prompts = (
        iter(prompt) if prompt else typed_prompts(speaker.name) if sys.stdin.isatty() else map(str.strip, sys.stdin)
    )
    shown = Shown(session.output, sampling)
    converse(speaker, prompts, sampling, show=shown.piece, done=shown.answer)


def load_speaker(session: Session, run: Run, *, base: bool) -> Speaker:
    """The run's twin or its base, loaded; says so first, since that takes a while."""
    files = base_files(session.workspace, run) if base else twin_files(session.workspace, run)
    session.output.say("loading Unsloth and the model (10 to 20 s) …")
    from twinctl.engine.generation import LocalModel

    return LocalModel.load(**files, name="base" if base else run.name)


class Shown:
    """Answers as a terminal or a script wants them."""

    def __init__(self, output: Output, sampling: Sampling) -> None:
        self._output, self._sampling = output, sampling

    def piece(self, text: str) -> None:
        """A piece of an answer, as it comes."""
        if not self._output.json:
            print(text, end="", flush=True)

    def answer(self, prompt: str, answer: Answer) -> None:
        """A whole answer: its figures, or with --json its line."""
        if self._output.json:
            line = {"prompt": prompt, "text": answer.text, "tokens": answer.tokens, "finish": answer.finish}
            speed = round(answer.tokens_per_second, 1)
            self._output.json_line({**line, "seed": self._sampling.seed, "tokens_per_second": speed})
            return
        print(flush=True)
        cut = f"cut at {self._sampling.max_new_tokens} tokens"
        ended = {"stop": "ended by itself", "length": cut, "interrupted": "stopped"}[answer.finish]
        self._output.say(f"[{answer.tokens} tokens, {answer.tokens_per_second:.1f} tokens/s, {ended}]")
