"""The conversation in a terminal: read a line, stream the answer, again.

What must stay true: something is on the screen at once, and questions can be typed while the model loads; Ctrl-C ends
the answer and not the program; Ctrl-D leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from twinctl.chat.commands import complete, run_command
from twinctl.chat.conversation import Conversation
from twinctl.chat.line_input import Lines, line_input
from twinctl.chat.loading import Load, Loading
from twinctl.chat.screen import Screen
from twinctl.chat.transcripts import Transcript
from twinctl.config.sampling import Sampling
from twinctl.errors import Interrupted, SigTerm, Terminated, TwinctlError

IDLE = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}  # values that do nothing


def run_repl(
    name: str,
    load: Load,
    sampling: Sampling,
    transcript: Transcript,
    *,
    prompts: Callable[[], Sequence[str]] = lambda: (),
    together: bool = False,
    history: Path | None = None,
    quiet: bool = False,
    command: str = "twinctl chat",
) -> None:
    """Read questions to the model `name`, one of those that `load` returns, and answer them until the person leaves.

    `load` runs in another thread and must print nothing. `prompts` are those of /prompts; `together` asks all models
    from the start; `history` is the file of what was typed; `command` is how this conversation was started, to say how
    to resume it. Raises what loading raised.
    """
    screen, loading = Screen(quiet=quiet), Loading(load)
    conversation = Conversation(screen, loading, name, _resumed(sampling, transcript), transcript, prompts)
    conversation.together = together
    _greet(conversation)
    conversation.line_input = line_input(screen, loading, history, lambda begun: complete(conversation, begun))
    loading.start()
    if isinstance(conversation.line_input, Lines):
        _ = conversation.models
    try:
        while _next(conversation):
            pass
    except SigTerm:
        _end_loading(conversation, loading, Terminated("terminated"))
        raise
    except Interrupted as error:
        _end_loading(conversation, loading, error)
        raise
    if transcript.path and transcript.path.exists():
        number = transcript.number
        screen.note(f"saved as conversation {number}; to resume it: {command} --resume {number}")
    _end_loading(conversation, loading)
    for model in loading.models(screen).values():
        model.close()


def _end_loading(conversation: Conversation, loading: Loading, error: Interrupted | None = None) -> None:
    """End the process at once if the model is still loading: an import can neither be stopped nor outlive Python."""
    if loading.is_under_way:
        if error:
            conversation.screen.line(error.message)
        os._exit(error.exit_code if error else 0)


def _next(conversation: Conversation) -> bool:
    """Read one line and do what it says. False if it was the last."""
    screen = conversation.screen
    try:
        line = conversation.line_input.read(conversation.label)
        if line.startswith("/"):
            run_command(conversation, line)
        elif line.strip():
            conversation.ask(line.strip())
    except KeyboardInterrupt:
        screen.note("Ctrl-D leaves; Ctrl-C stops an answer")
    except EOFError:
        return False
    except TwinctlError as error:
        if conversation.failed or isinstance(error, Interrupted):
            raise
        screen.error(error)
    return True


def _resumed(sampling: Sampling, transcript: Transcript) -> Sampling:
    """The sampling with the transcript's system message, unless another is given."""
    system = transcript.turns[-1].system if transcript.turns else ""
    return sampling if sampling.system or not system else sampling.model_copy(update={"system": system})


def _greet(conversation: Conversation) -> None:
    screen, sampling, turns = conversation.screen, conversation.sampling, conversation.transcript.turns
    longest = f"at most {sampling.max_new_tokens} tokens"
    screen.note(f"{_how(sampling)}, {longest}, seed {sampling.seed}; /help lists the commands, Ctrl-D leaves")
    if sampling.system:
        screen.note(f"system: {sampling.system}")
    if turns:
        count = f"{len(turns)} turn{'s' if len(turns) > 1 else ''}"
        screen.note(f"conversation {conversation.transcript.number}, {count} so far; the last:")
        screen.text(f"{conversation.name}> {turns[-1].question}")
        screen.text(turns[-1].answer.text if turns[-1].answer else "(not answered; /retry asks it again)")


def _how(sampling: Sampling) -> str:
    """The sampling in words."""
    penalty = {"repetition_penalty": sampling.repetition_penalty}
    used = {**sampling.model_dump(include=set(IDLE)), **penalty} if sampling.temperature else penalty
    drawn = f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"
    more = (f"{name.replace('_', '-')} {value:g}" for name, value in used.items() if value != IDLE[name])
    return ", ".join([drawn, *more])
