"""A conversation in a real pseudo-terminal: the program on its far side, and the person and the screen on this one.

The speaker there is a FakeSpeaker that stops at `<wait>` until Ctrl-C and raises at `<memory>`; what it was asked comes
back when it is closed.
"""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte

from tests.support.stand_ins import FakeSpeaker
from twinctl.chat import transcripts
from twinctl.chat.repl import run_repl
from twinctl.cli import app
from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.errors import EngineError, SigTerm, TwinctlError
from twinctl.inference.chat_model import Answer, ChatModel, Show
from twinctl.workspace.workspace import Workspace

PROMPTS = ["What is a harbour for?", "Who bakes the bread?"]
ASKED = "asked.json"
ROWS = 120


@dataclass
class Talker(FakeSpeaker):
    """A FakeSpeaker with pauses."""

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        text = self.queue[len(self.history)]
        before, waits, _ = text.partition("<wait>")
        if "<memory>" in text:
            self.history.append(([*messages], sampling))
            raise EngineError("out of memory", "load fewer bits: twinctl chat --4bit")
        if not waits:
            return super().answer(messages, sampling, show)
        self.history.append(([*messages], sampling))
        try:
            if before:
                show(before)
            time.sleep(30)
        except KeyboardInterrupt:
            pass
        return Answer(before, len(before.split()), "interrupted", 0.5, seed=sampling.seed)


def main(how: dict[str, Any]) -> None:
    """The program; in the working directory is its workspace."""
    signal.signal(signal.SIGTERM, app._terminate)
    speakers = [Talker(answers, name, **how["speaker"]) for name, answers in how["answers"].items()]

    def load() -> list[ChatModel]:
        time.sleep(how["loads"])
        if how["fails"]:
            raise EngineError("the adapter is damaged", "train again: twinctl train")
        return [*speakers]

    workspace = Workspace(Path("ws"))
    resumed = how["resume"] is not None
    kept = (
        transcripts.resume(workspace, "tiny", how["resume"] or None)
        if resumed
        else transcripts.begin(workspace, "tiny")
    )
    workspace.root.mkdir(exist_ok=True)
    try:
        sampling = Sampling(**how["sampling"])
        run_repl("tiny", load, sampling, kept, prompts=lambda: PROMPTS, history=workspace.root / "history")
    except TwinctlError as error:
        sys.exit(f"{error.message} → {error.hint}")
    except SigTerm:
        sys.exit("terminated → the same command goes on")
    finally:
        asked = {each.name: [(said, _changed(how)) for said, how in each.history] for each in speakers}
        Path(ASKED).write_text(json.dumps(asked))


def _changed(sampling: Sampling) -> dict[str, Any]:
    return sampling.model_dump(mode="json", exclude_defaults=True)


class _Screen(pyte.Screen):
    """A terminal that says where its cursor is when it is asked."""

    answers: Callable[[str], object]

    def write_process_input(self, data: str) -> None:
        self.answers(data)


class Terminal:
    """The person's side. The program is a process of its own: in a fork of this one a lock could stay shut."""

    def __init__(self, folder: Path, how: dict[str, Any], columns: int, env: dict[str, str]) -> None:
        self.folder, self.raw = folder, ""
        self._screen = _Screen(columns, ROWS)
        self._screen.answers = self.type
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._prompts, self._ended, self._closed = 0, False, False
        self.status: int | None = None
        size = struct.pack("HHHH", ROWS, columns, 0, 0)
        self.process, self._end = pty.fork()
        if self.process == 0:
            kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
            about = {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}
            words = [sys.executable, "-m", "tests.support.terminal", json.dumps(how)]
            os.execve(sys.executable, words, {**kept, **about, **env})
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, size)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        lines = [line.rstrip() for line in self._screen.display]
        return lines[: max((at for at, line in enumerate(lines, 1) if line), default=0)]

    def until(self, there: Callable[[list[str]], bool] | str) -> None:
        """Wait for a text, or for what is true of the lines."""
        is_there = (lambda lines: there in "\n".join(lines)) if isinstance(there, str) else there
        end = time.monotonic() + 20
        while not is_there(self.lines):
            assert time.monotonic() < end, "\n".join(["this never came; on the screen is:", *self.lines])
            assert not self._ended, "\n".join(["it ended; on the screen is:", *self.lines])
            if select.select([self._end], [], [], 0.2)[0]:
                self._take()

    def _take(self) -> None:
        try:
            piece = self._decoder.decode(os.read(self._end, 65536))
        except OSError:  # the other side is closed
            self._ended = True
            return
        self.raw += piece
        self._stream.feed(piece)

    def begin(self) -> None:
        """Wait for the first prompt."""
        self.until(lambda lines: "tiny>" in lines)
        self._prompts = _prompts(self.lines)

    def prompt(self, label: str = "tiny") -> None:
        """Wait for the next prompt."""
        self._prompts += 1
        self.until(lambda lines: _prompts(lines) == self._prompts)
        self.until(lambda lines: any(line.startswith(f"{label}>") for line in lines[-1:]))

    def type(self, keys: str) -> None:
        """Keys, as they are."""
        os.write(self._end, keys.encode())

    def ctrl_c(self) -> None:
        """Ctrl-C, also for a program that does not read."""
        self.type("\x03")

    def say(self, *lines: str, label: str = "tiny") -> None:
        """Lines, each with Enter and all that it leads to."""
        for line in lines:
            self.type(f"{line}\r")
            self.prompt(label)

    def leave(self) -> list[str]:
        """Ctrl-D, and the whole transcript."""
        self.type("\x04")
        return self.end()

    def end(self) -> list[str]:
        """The whole transcript, when it has ended."""
        self.until(lambda lines: self._ended)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return self.lines

    def signal(self, number: int) -> None:
        """A signal for the program."""
        os.kill(self.process, number)

    def kill(self) -> None:
        """kill -9, and the terminal is closed."""
        if self.status is None:
            os.kill(self.process, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if not self._closed:
            os.close(self._end)
        self._closed = True

    @property
    def asked(self) -> dict[str, list[tuple[list[Message], dict[str, Any]]]]:
        """What each speaker was asked and how, where that is not the default."""
        found: dict[str, Any] = json.loads((self.folder / ASKED).read_text())
        return found


def _prompts(lines: list[str]) -> int:
    return sum(bool(re.match(r"(tiny|base|edited)( \+ all)?>( |$)", line)) for line in lines)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
