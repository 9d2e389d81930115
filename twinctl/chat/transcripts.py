"""The talks of a run, kept as they go: <workspace>/talks/<run>/<number>.jsonl, and checks.jsonl beside them.

What must stay true: a file is only ever appended to, and a talk is what its lines say when they are read in order, so
a kill loses at most the answer that was being given; a question is written before it is asked; two processes never
write into the same talk; no secret is written. A folder that cannot be written to stops no conversation.
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
from twinctl.workspace.run import TALKS
from twinctl.workspace.workspace import Workspace

CHECKS = "checks.jsonl"
UNFINISHED = ("length", "interrupted")


@dataclass(frozen=True)
class StoredAnswer:
    """An answer as it was kept. `finish` is the answer's, or "mended" once somebody has written it anew."""

    speaker: str
    text: str
    finish: str
    seed: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A question and what was answered: the answer that the talk goes on from, and what others said to the same."""

    question: str
    time: float = 0.0
    answer: StoredAnswer | None = None
    beside: tuple[StoredAnswer, ...] = ()
    system: str = ""


@dataclass
class Transcript:
    """A talk, in memory and in its file; with no file it is kept nowhere. Read it from `turns`.

    `fault` says why nothing is written any more.
    """

    path: Path | None = None
    turns: list[Turn] = field(default_factory=list)
    fault: str = ""
    _stream: BinaryIO | None = None

    @property
    def number(self) -> int:
        """Its number in the run; 0 while it has no file."""
        return int(self.path.stem) if self.path else 0

    @property
    def speakers(self) -> list[str]:
        """Who answered in it."""
        said = (each for turn in self.turns for each in (turn.answer, *turn.beside) if each)
        return list(dict.fromkeys(each.speaker for each in said))

    def ask(self, question: str, sampling: Sampling) -> None:
        """Begin a turn."""
        self._add({"role": "user", "text": question, "system": sampling.system})

    def answer(self, speaker: str, answer: Answer, sampling: Sampling, *, beside: bool = False) -> None:
        """The last turn's answer; or one `beside` it, that the talk does not go on from. Each in place of an older."""
        how = sampling.model_dump(mode="json", exclude={"system"})
        line = {"role": "assistant", "speaker": speaker, **asdict(answer), "sampling": how}
        self._add({**line, "beside": True} if beside else line)

    def mend(self, text: str) -> None:
        """Another text for the last answer."""
        self._add({"event": "mend", "text": text})

    def undo(self) -> None:
        """Take the last turn back."""
        self._add({"event": "undo"})

    def clear(self) -> None:
        """Take all turns back."""
        self._add({"event": "clear"})

    def rows(self, *, each_turn: bool = False) -> tuple[list[dict[str, Any]], int]:
        """The talk as rows that prepare takes, and how many turns were left out: they have no whole answer.

        One row for the talk, or for a template of single turns one for `each_turn`.
        """
        whole = [turn for turn in self.turns if turn.answer and turn.answer.text.strip()]
        whole = [turn for turn in whole if turn.answer and turn.answer.finish not in UNFINISHED]
        talks = [[turn] for turn in whole] if each_turn else [whole] if whole else []
        name = f"{self.path.parent.name}/{self.number}" if self.path else "talk"
        return [{"messages": _messages(talk), "talk": name} for talk in talks], len(self.turns) - len(whole)

    def _add(self, line: Mapping[str, Any]) -> None:
        """Write the line, then let it count."""
        line = _stamped(line)
        if self.path and not self.fault:
            try:
                self._stream = self._stream or self._claimed(self.path)
                self._stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                self._stream.flush()
            except OSError as error:
                self.fault = f"{self.path}: {error.strerror or error}"
        self._count(line)

    def _claimed(self, path: Path) -> BinaryIO:
        """The file, made with the first line; of two that want the same number, the second takes the next."""
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                stream = _open(path, os.O_EXCL)
                self.path = path
                return stream
            except FileExistsError:
                path = path.with_name(f"{int(path.stem) + 1}.jsonl")

    def _count(self, line: Mapping[str, Any]) -> None:
        """What a line means; one that a newer twinctl wrote means nothing."""
        text, turns = line.get("text", ""), self.turns
        if line.get("role") == "user":
            turns.append(Turn(text, line.get("time", 0.0), system=line.get("system", "")))
        elif line.get("event") == "clear":
            turns.clear()
        elif not turns:
            return
        elif line.get("role") == "assistant":
            said = StoredAnswer(**{name: line[name] for name in StoredAnswer.__dataclass_fields__ if name in line})
            others = (*(each for each in turns[-1].beside if each.speaker != said.speaker), said)
            turns[-1] = replace(turns[-1], **({"beside": others} if line.get("beside") else {"answer": said}))
        elif line.get("event") == "undo":
            turns.pop()
        elif line.get("event") == "mend" and (old := turns[-1].answer):
            turns[-1] = replace(turns[-1], answer=replace(old, text=text, finish="mended"))


def folder(workspace: Workspace, run: str) -> Path:
    """Where the run's talks and check results are kept; `runs rename` carries it along, `runs rm` leaves it."""
    return workspace.root / TALKS / run


def begin(workspace: Workspace, run: str) -> Transcript:
    """A talk that gets the run's next number; its file is made with the first question."""
    return Transcript(folder(workspace, run) / f"{max(_numbers(workspace, run), default=0) + 1}.jsonl")


def resume(workspace: Workspace, run: str, number: int | None = None) -> Transcript:
    """That talk, or the last one, to go on with.

    Raises UpstreamError when it is not there, BusyError while another process goes on with it.
    """
    numbers = _numbers(workspace, run)
    wanted = number or max(numbers, default=0)
    if wanted not in numbers:
        there = f"talks of run “{run}”: {', '.join(map(str, numbers))}" if numbers else f"run “{run}” has no talk yet"
        raise UpstreamError(f"there is no talk {wanted}; {there}" if number else there, f"twinctl chat --run {run}")
    path = folder(workspace, run) / f"{wanted}.jsonl"
    try:
        stream = _open(path)
    except BlockingIOError as error:
        hint = "leave it there first, or begin another: twinctl chat"
        raise BusyError(f"talk {wanted} of run “{run}” is going on elsewhere", hint) from error
    except OSError as error:
        talk = _read(path)
        talk.fault = f"{path}: {error.strerror or error}"
        return talk
    talk = _read(path)
    talk._stream = stream
    if path.stat().st_size and not path.read_bytes().endswith(b"\n"):  # a crash cut the last line short
        stream.write(b"\n")
    return talk


def list_transcripts(workspace: Workspace, run: str) -> list[Transcript]:
    """The run's talks by number, to look at."""
    return [_read(folder(workspace, run) / f"{number}.jsonl") for number in _numbers(workspace, run)]


def append_check(workspace: Workspace, run: str, result: Mapping[str, Any]) -> None:
    """Append a check's result to the run's."""
    path = folder(workspace, run) / CHECKS
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(path, _stamped(result))


def checks(workspace: Workspace, run: str) -> list[dict[str, Any]]:
    """The run's check results, oldest first."""
    return list(read_lines(folder(workspace, run) / CHECKS))


def _open(path: Path, flags: int = 0) -> BinaryIO:
    """The file, to append to, and locked: nobody else opens it so. It can be moved meanwhile."""
    stream = open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, 0o600), "ab")  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise
    return stream


def _read(path: Path) -> Transcript:
    talk = Transcript(path)
    for line in read_lines(path):
        talk._count(line)
    return talk


def _stamped(line: Mapping[str, Any]) -> dict[str, Any]:
    """The line as it is written: with the time, without secrets."""
    return {"time": time.time(), **{key: _redacted(value) for key, value in line.items()}}


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _numbers(workspace: Workspace, run: str) -> list[int]:
    return sorted(int(path.stem) for path in (folder(workspace, run)).glob("*.jsonl") if path.stem.isdecimal())


def _messages(turns: Iterable[Turn]) -> list[Message]:
    """The turns as messages, after the last system message that was in force."""
    found: list[Message] = []
    system = ""
    for turn in turns:
        assert turn.answer
        system = turn.system
        found.append({"role": "user", "content": turn.question})
        found.append({"role": "assistant", "content": turn.answer.text})
    return [{"role": "system", "content": system}, *found] if system else found
