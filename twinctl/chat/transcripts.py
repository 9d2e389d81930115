"""Transcripts of a run's conversations: <workspace>/talks/<run>/<number>.jsonl; the results of checks: checks.jsonl.

What must stay true: a file is only ever appended to, and a transcript is what its lines say when they are read in
order, so a kill loses at most the answer that was being given; a question is written before it is asked; two processes
never write to the same transcript; no secret is written. A folder that cannot be written to stops no conversation.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from twinctl.config.sampling import Sampling
from twinctl.config.secrets import redact
from twinctl.data.template import Message
from twinctl.errors import BusyError, UpstreamError
from twinctl.inference.chat_model import Answer
from twinctl.workspace.files import append_line, read_lines
from twinctl.workspace.layout import TRANSCRIPTS
from twinctl.workspace.workspace import Workspace

CHECKS = "checks.jsonl"
UNFINISHED = ("length", "interrupted")


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as it was saved. `speaker`: the model's name; `finish`: the answer's, or "mended" after an edit."""

    speaker: str
    text: str
    finish: str
    seed: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A question, the answer that the conversation continues with, and `beside` it those of other models."""

    question: str
    time: float = 0.0
    answer: StoredAnswer | None = None
    beside: tuple[StoredAnswer, ...] = ()
    system: str = ""


@dataclass
class Transcript:
    """A conversation's turns, in memory and in its file; with no file it is not saved.

    `fault` says why nothing is written any more.
    """

    path: Path | None = None
    turns: list[Turn] = field(default_factory=list)
    fault: str = ""
    _stream: BinaryIO | None = None

    @property
    def number(self) -> int:
        """The number in the run; 0 if it has no file."""
        return int(self.path.stem) if self.path else 0

    @property
    def speakers(self) -> list[str]:
        """The names of the models that answered."""
        answers = (answer for turn in self.turns for answer in (turn.answer, *turn.beside) if answer)
        return list(dict.fromkeys(answer.speaker for answer in answers))

    def ask(self, question: str, sampling: Sampling) -> None:
        """Begin a turn."""
        self._add({"role": "user", "text": question, "system": sampling.system})

    def answer(self, speaker: str, answer: Answer, sampling: Sampling, *, beside: bool = False) -> None:
        """Set the last turn's answer; or, with `beside`, one that the conversation does not continue with."""
        how = sampling.model_dump(mode="json", exclude={"system"})
        line = {"role": "assistant", "speaker": speaker, **asdict(answer), "sampling": how}
        self._add({**line, "beside": True} if beside else line)

    def edit(self, text: str) -> None:
        """Replace the last answer's text."""
        self._add({"event": "mend", "text": text})

    def undo(self) -> None:
        """Take the last turn back."""
        self._add({"event": "undo"})

    def clear(self) -> None:
        """Take all turns back."""
        self._add({"event": "clear"})

    def rows(self, *, each_turn: bool = False) -> tuple[list[dict[str, Any]], int]:
        """The conversation as rows that prepare takes, and how many turns were left out, as they have no whole answer.

        One row for the conversation, or one for `each_turn`, as a template of single turns needs it.
        """
        answered = [(turn, turn.answer) for turn in self.turns if turn.answer and turn.answer.text.strip()]
        whole = [turn for turn, answer in answered if answer.finish not in UNFINISHED]
        conversations = [[turn] for turn in whole] if each_turn else [whole] if whole else []
        name = f"{self.path.parent.name}/{self.number}" if self.path else "talk"
        rows = [{"messages": _messages(turns), "talk": name} for turns in conversations]
        return rows, len(self.turns) - len(whole)

    def _add(self, line: Mapping[str, Any]) -> None:
        """Write the line, then apply it."""
        line = _stamped(line)
        if self.path and not self.fault:
            try:
                self._stream = self._stream or self._create(self.path)
                self._stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                self._stream.flush()
            except OSError as error:
                self.fault = f"{self.path}: {error.strerror or error}"
        self._apply(line)

    def _create(self, path: Path) -> BinaryIO:
        """Create the file; if another process has taken the number meanwhile, take the next."""
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                stream = _open(path, os.O_EXCL)
                self.path = path
                return stream
            except FileExistsError:
                path = path.with_name(f"{int(path.stem) + 1}.jsonl")

    def _apply(self, line: Mapping[str, Any]) -> None:
        """Change the turns as a line says; a line that only a newer twinctl knows changes nothing."""
        text, turns = line.get("text", ""), self.turns
        if line.get("role") == "user":
            turns.append(Turn(text, line.get("time", 0.0), system=line.get("system", "")))
        elif line.get("event") == "clear":
            turns.clear()
        elif not turns:
            return
        elif line.get("role") == "assistant":
            answer = StoredAnswer(**{name: line[name] for name in StoredAnswer.__dataclass_fields__ if name in line})
            others = [other for other in turns[-1].beside if other.speaker != answer.speaker]
            changed = {"beside": (*others, answer)} if line.get("beside") else {"answer": answer}
            turns[-1] = replace(turns[-1], **changed)
        elif line.get("event") == "undo":
            turns.pop()
        elif line.get("event") == "mend" and (old := turns[-1].answer):
            turns[-1] = replace(turns[-1], answer=replace(old, text=text, finish="mended"))


def folder(workspace: Workspace, run: str) -> Path:
    """The folder of the run's transcripts and check results; `runs rename` moves it, `runs rm` leaves it."""
    return workspace.root / TRANSCRIPTS / run


def begin(workspace: Workspace, run: str) -> Transcript:
    """A transcript that gets the run's next number; its file is created with the first question."""
    return Transcript(folder(workspace, run) / f"{max(_numbers(workspace, run), default=0) + 1}.jsonl")


def resume(workspace: Workspace, run: str, number: int | None = None) -> Transcript:
    """The transcript of that number, or the last one, to continue.

    Raises UpstreamError if there is none, BusyError while another process continues it.
    """
    numbers = _numbers(workspace, run)
    wanted = number or max(numbers, default=0)
    if wanted not in numbers:
        known = f"conversations of run “{run}”: {', '.join(map(str, numbers))}"
        known = known if numbers else f"run “{run}” has no conversation yet"
        message = f"there is no conversation {wanted}; {known}" if number else known
        raise UpstreamError(message, f"twinctl chat --run {run}")
    path = folder(workspace, run) / f"{wanted}.jsonl"
    try:
        stream = _open(path)
    except BlockingIOError as error:
        hint = "leave it there first, or start another: twinctl chat"
        raise BusyError(f"conversation {wanted} of run “{run}” is open in another process", hint) from error
    except OSError as error:
        transcript = _read(path)
        transcript.fault = f"{path}: {error.strerror or error}"
        return transcript
    transcript = _read(path)
    transcript._stream = stream
    if path.stat().st_size and not path.read_bytes().endswith(b"\n"):  # a crash cut the last line short
        stream.write(b"\n")
    return transcript


def list_transcripts(workspace: Workspace, run: str) -> list[Transcript]:
    """The run's transcripts by number, to read."""
    return [_read(folder(workspace, run) / f"{number}.jsonl") for number in _numbers(workspace, run)]


def append_check(workspace: Workspace, run: str, result: Mapping[str, Any]) -> None:
    """Append a check's result to those of the run."""
    path = folder(workspace, run) / CHECKS
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, _stamped(result))


def checks(workspace: Workspace, run: str) -> list[dict[str, Any]]:
    """The run's check results, oldest first."""
    return list(read_lines(folder(workspace, run) / CHECKS))


def _open(path: Path, flags: int = 0) -> BinaryIO:
    """Open the file for appending, locked against other processes; it can be moved meanwhile."""
    stream = open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o600), "ab")  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise
    return stream


def _read(path: Path) -> Transcript:
    transcript = Transcript(path)
    for line in read_lines(path):
        transcript._apply(line)
    return transcript


def _stamped(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line as it is written: with the time, and without secrets."""
    return {"time": time.time(), **{key: _redacted(value) for key, value in line.items()}}


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _numbers(workspace: Workspace, run: str) -> list[int]:
    return sorted(int(path.stem) for path in (folder(workspace, run)).glob("*.jsonl") if path.stem.isdecimal())


def _messages(turns: Iterable[Turn]) -> list[Message]:
    """The turns as messages, after the system message of the last turn."""
    messages: list[Message] = []
    system = ""
    for turn in turns:
        assert turn.answer
        system = turn.system
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer.text})
    return [{"role": "system", "content": system}, *messages] if system else messages
