"""What can be typed besides questions.

What must stay true: the table below is all there is to a command: what /help says, what Tab completes and what runs
come from it; a wrong value changes nothing and is explained.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from twinctl.chat.conversation import Conversation
from twinctl.config.sampling import Sampling
from twinctl.config.secrets import redact
from twinctl.errors import ConfigError, UsageError
from twinctl.wording import did_you_mean, near_match
from twinctl.workspace.files import write_text

RunCommand = Callable[[Conversation, str], None]
Complete = Callable[[Conversation, str], Sequence[str]]


@dataclass(frozen=True)
class Command:
    """One command: what it does, in a line, and the arguments that it takes and completes."""

    run: RunCommand
    help: str
    arguments: str = ""
    complete: Complete = lambda conversation, begun: ()


def run_command(conversation: Conversation, line: str) -> None:
    """Run a line that begins with a slash. Raises UsageError for an unknown one, EOFError to leave."""
    name, _, words = line.removeprefix("/").partition(" ")
    if "\n" in name:
        name, _, words = line.removeprefix("/").partition("\n")
    name = "exit" if name in LEAVING else name
    if name not in COMMANDS:
        near = near_match(name, COMMANDS)
        hint = f"did you mean /{near}?" if near else "the commands: /help"
        raise UsageError(f"there is no /{name}", f"{hint} (a question can begin with a space and then a slash)")
    COMMANDS[name].run(conversation, words.strip())


def complete(conversation: Conversation, begun: str) -> list[str]:
    """The lines that `begun` can be completed to."""
    name, space, words = begun.removeprefix("/").partition(" ")
    if not begun.startswith("/") or "\n" in begun:
        return []
    if not space:
        names = [command for command in COMMANDS if command.startswith(name)]
        return [f"/{command}{' ' if COMMANDS[command].arguments else ''}" for command in names]
    command = COMMANDS.get(name)
    return [f"/{name} {argument}" for argument in command.complete(conversation, words)] if command else []


def _help(conversation: Conversation, words: str) -> None:
    rows = [(f"/{name} {command.arguments}".strip(), command.help) for name, command in COMMANDS.items()]
    _table(conversation, [*rows, *KEYS])


def _base(conversation: Conversation, words: str) -> None:
    others = [name for name in conversation.models if name != conversation.home]
    if not others:
        raise UsageError(f"{conversation.home} is the only model", "start with: twinctl chat --compare")
    other = "base" if "base" in others else others[0]
    conversation.name = other if conversation.name == conversation.home else conversation.home
    conversation.screen.note(f"{conversation.name} answers now")


def _compare(conversation: Conversation, words: str) -> None:
    if len(names := list(conversation.models)) < 2:
        raise UsageError(f"{names[0]} is the only model", "start with: twinctl chat --compare")
    if words:
        conversation.ask(words, together=True)
        return
    conversation.together = not conversation.together
    who = f"{' and '.join(names)} answer" if conversation.together else f"{conversation.name} alone answers"
    conversation.screen.note(f"{who} from now on; the conversation continues with what {conversation.name} says")


def _system(conversation: Conversation, words: str) -> None:
    if words:
        conversation.sampling = with_value(conversation.sampling, "system", "" if words == "none" else words)
    system = conversation.sampling.system
    conversation.screen.line(f"system: {system}; to have none: /system none" if system else "system: none")


def _set(conversation: Conversation, words: str) -> None:
    name, _, value = words.partition(" ")
    fields = {name: Sampling.model_fields[name]} if name in Sampling.model_fields else Sampling.model_fields
    if value.strip():
        conversation.sampling = with_value(conversation.sampling, name, value.strip())
        conversation.screen.line(f"{name} = {_value(conversation.sampling, name)}")
    elif name and name not in fields:
        raise _unknown(name)
    else:
        sampling = conversation.sampling
        rows = [(f"{name} = {_value(sampling, name)}", str(fields[name].description)) for name in fields]
        _table(conversation, rows)


def with_value(sampling: Sampling, name: str, value: str) -> Sampling:
    """The sampling with another value. Raises UsageError for an unknown name or a wrong value, saying what it is."""
    if name not in Sampling.model_fields:
        raise _unknown(name)
    try:
        several = isinstance(getattr(sampling, name), tuple)
        read: Any = tuple(text for text in shlex.split(value) if text) if several else value
        return Sampling.model_validate({**sampling.model_dump(), name: read})
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        about = Sampling.model_fields[name].description
        raise UsageError(f"{name} cannot be “{value}”: {reason}", f"{name}: {about}") from error


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no “{name}” to set", did_you_mean(name, Sampling.model_fields, "what there is: /set"))


def _undo(conversation: Conversation, words: str) -> None:
    question = conversation.last.question
    conversation.transcript.undo()
    conversation.screen.line(f"undone: {_short(question)}")


def _clear(conversation: Conversation, words: str) -> None:
    conversation.transcript.clear()
    conversation.reset()
    conversation.screen.line("cleared: the next question starts a new conversation")


def _edit(conversation: Conversation, words: str) -> None:
    if not (answer := conversation.last.answer):
        raise UsageError("the last question has no answer", "ask it again: /retry")
    text = words or conversation.line_input.read("edited", answer.text)
    if not text.strip() or text == answer.text:
        conversation.screen.line("the answer stays as it was")
        return
    conversation.transcript.edit(text)
    conversation.screen.line("the conversation continues with this answer; to save it to train on: /save")


def _save(conversation: Conversation, words: str) -> None:
    """Add the conversation to the file, in place of its own rows from an earlier /save."""
    conversation.last  # there must be something  # noqa: B018
    single = conversation.models[conversation.name].is_single_turn
    rows, left = conversation.transcript.rows(each_turn=single)
    if not rows:
        raise UsageError("no answer is whole, so there is nothing to train on", "correct the last one: /edit")
    path = Path(words or f"talk-{rows[0]['talk'].replace('/', '-')}.jsonl").expanduser()
    try:
        before = [line for line in _lines(path) if json.loads(line).get("talk") != rows[0]["talk"]]
        lines = [redact(json.dumps(row, ensure_ascii=False)) for row in rows]
        write_text(path, "".join(f"{line}\n" for line in [*before, *lines]))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", "choose another file: /save FILE.jsonl") from error
    turns = "1 turn that has" if left == 1 else f"{left} turns that have"
    cut = f" without {turns} no whole answer (/edit corrects one)" if left else ""
    conversation.screen.line(f"saved{cut}; to train on it: twinctl prepare -d {shlex.quote(str(path))}")


def _lines(path: Path) -> list[str]:
    """The file's rows. Raises ConfigError for a file of another kind, which must not be overwritten."""
    if not path.exists():
        return []
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        if all(isinstance(json.loads(line), dict) for line in lines):
            return lines
    except ValueError:
        pass
    raise ConfigError(f"{path} is there and holds no JSON Lines", "choose another file: /save FILE.jsonl")


def _prompts(conversation: Conversation, words: str) -> None:
    prompts = conversation.prompts()
    if words.isdecimal() and 0 < int(words) <= len(prompts):
        conversation.screen.text(prompts[int(words) - 1])
        conversation.ask(prompts[int(words) - 1])
    elif words:
        raise UsageError(f"there is no prompt “{words}”", f"a number from 1 to {len(prompts)}")
    elif not prompts:
        raise UsageError("no rows were held out", "ask anything")
    else:
        for number, prompt in enumerate(prompts, 1):
            conversation.screen.line(f"{number:>3}  {_short(prompt)}")
        conversation.screen.note("to ask one: /prompts NUMBER")


def _exit(conversation: Conversation, words: str) -> None:
    raise EOFError


def _names(conversation: Conversation, begun: str) -> list[str]:
    return [f"{name} " for name in Sampling.model_fields if name.startswith(begun)]


def _numbers(conversation: Conversation, begun: str) -> list[str]:
    numbers = map(str, range(1, len(conversation.prompts()) + 1))
    return [number for number in numbers if number.startswith(begun)]


def _files(conversation: Conversation, begun: str) -> list[str]:
    folder, _, start = begun.rpartition("/")
    path = Path(f"{folder}/" if folder or begun.startswith("/") else ".").expanduser()
    entries = sorted(path.iterdir()) if path.is_dir() else []
    named = [entry for entry in entries if entry.name.startswith(start) and (start or entry.name[0] != ".")]
    fitting = [entry for entry in named if entry.is_dir() or entry.suffix in (".jsonl", ".json")]
    before = begun[: len(begun) - len(start)]
    return [f"{before}{entry.name}{'/' if entry.is_dir() else ''}" for entry in fitting]


def _value(sampling: Sampling, name: str) -> str:
    return json.dumps(getattr(sampling, name), ensure_ascii=False)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:69]}…"


def _table(conversation: Conversation, rows: Sequence[tuple[str, str]]) -> None:
    """What is typed and what it does: in two columns, or in a narrow window one below the other."""
    widest = max(len(name) for name, _ in rows)
    narrow = conversation.screen.width < widest + 2 + max(len(text) for _, text in rows)
    for name, text in rows:
        conversation.screen.text(f"{name}\n    {text}" if narrow else f"{name:<{widest}}  {text}")


COMMANDS: dict[str, Command] = {
    "help": Command(_help, "this list"),
    "base": Command(_base, "talk to the base model, and back to the twin"),
    "compare": Command(_compare, "ask all models, this or from now on", "[TEXT]"),
    "system": Command(_system, "the system message; none takes it out", "[TEXT]"),
    "set": Command(_set, "the sampling, as it is or changed", "[NAME VALUE]", _names),
    "retry": Command(lambda conversation, words: conversation.retry(), "the same question with another seed"),
    "edit": Command(_edit, "correct the last answer", "[TEXT]"),
    "undo": Command(_undo, "take the last question back"),
    "clear": Command(_clear, "forget the turns so far"),
    "save": Command(_save, "save the conversation as rows to train on", "[FILE]", _files),
    "prompts": Command(_prompts, "held-out questions to try", "[NUMBER]", _numbers),
    "exit": Command(_exit, "leave, as Ctrl-D does"),
}
LEAVING = ("quit", "bye", "q")  # as other chats call it
KEYS = [
    ("Ctrl-C", "stops an answer, drops a line"),
    ("Esc Enter", "a new line; so does \\ at its end"),
    ('"""', "many lines, up to the next"),
]
