"""Answers to prompts that nobody types: as text that streams, or as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from twinctl.chat.answer_stats import answer_stats
from twinctl.chat.batch import (
    Prompt,
    PromptAnswer,
    answer_in_batches,
    load_in_turn,
    prompts_of,
    read_prompts,
    stream_answers,
)
from twinctl.chat.model_selection import ModelGroup
from twinctl.chat.screen import printable
from twinctl.cli.output import Output
from twinctl.config.sampling import Sampling
from twinctl.errors import Interrupted, UsageError


def asked(texts: list[str] | None, file: Path | None, sampling: Sampling) -> list[Prompt] | None:
    """What the command line, a file or a pipe asks: of a pipe each line, and with `-p -` all of it as one.

    None where a person is to be asked. Raises ConfigError for a file's bad line, UsageError for an empty text.
    """
    given = [sys.stdin.read() if text == "-" else text for text in texts or ()]
    if not all(map(str.strip, given)):
        raise UsageError("the prompt is empty", 'twinctl chat -p "What is rain?"')
    if file is not None:
        return [*prompts_of(given, sampling), *read_prompts(file, sampling)]
    if given or sys.stdin.isatty():
        return prompts_of(given, sampling) if given else None
    return prompts_of(map(str.strip, sys.stdin), sampling)


def generate_all(
    output: Output, groups: Sequence[ModelGroup], prompts: Sequence[Prompt], sampling: Sampling, *, as_lines: bool
) -> None:
    """Every model's answer to every prompt. Raises Interrupted after an answer that Ctrl-C stopped."""
    models = load_in_turn(groups, before=lambda group: say_loading(output, group)) if prompts else iter(())
    if as_lines:
        for answered in answer_in_batches(models, prompts, sampling):
            output.json_line(answered.line(sampling))
        return
    shown = Shown(output, sampling, several=sum(len(group.names) for group in groups) > 1)
    for answered in stream_answers(models, prompts, sampling, begin=shown.begin, show=shown.piece):
        shown.end(answered)
        if answered.answer.finish == "interrupted":
            raise Interrupted("interrupted")


def say_loading(output: Output, group: ModelGroup) -> None:
    """Say what is loaded now, since it takes a while."""
    output.say(f"loading {' and '.join(group.names)} …")


class Shown:
    """Answers as text; if there are several models, each under its model's name."""

    def __init__(self, output: Output, sampling: Sampling, *, several: bool) -> None:
        self._output, self._sampling, self._several = output, sampling, several

    def begin(self, name: str) -> None:
        """The model that answers next."""
        if self._several:
            self._output.line(f"{name}:")

    def piece(self, text: str) -> None:
        """A piece of an answer, as it comes; on a terminal without control characters."""
        print(printable(text) if sys.stdout.isatty() else text, end="", flush=True)

    def end(self, answered: PromptAnswer) -> None:
        """The answer's figures."""
        print(flush=True)
        self._output.say(answer_stats(answered.answer, self._sampling))
