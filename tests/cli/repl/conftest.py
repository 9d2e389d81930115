"""A conversation to be tested: begun at its first prompt, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.talking import Terminal
from twinctl.chat import transcripts
from twinctl.chat.transcripts import Transcript
from twinctl.workspace.workspace import Workspace

Start = Callable[..., Terminal]
GREETING = (
    "temperature 0.7, top-p 0.95, min-p 0.05, at most 256 tokens, seed 0; /help lists what there is, Ctrl-D leaves"
)
TWO = "[2 tokens, 4.0 tokens/s, ended by itself]"
KEPT = "kept as talk 1; to go on with it: twinctl chat --resume 1"


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """A conversation with these answers of the twin's, at its first prompt."""
    begun: list[Terminal] = []

    def begin(
        *answers: str,
        base: tuple[str, ...] | None = None,
        columns: int = 120,
        env: dict[str, str] | None = None,
        loads: float = 0.0,
        fails: bool = False,
        resume: int | None = None,
        sampling: dict[str, Any] | None = None,
        **speaker: Any,
    ) -> Terminal:
        said = {"tiny": answers} if base is None else {"base": base, "tiny": answers}
        how = {"answers": said, "loads": loads, "fails": fails, "resume": resume, "sampling": sampling or {}}
        terminal = Terminal(home, {**how, "speaker": speaker}, columns, env or {})
        begun.append(terminal)
        terminal.begin()
        return terminal

    yield begin
    for terminal in begun:
        terminal.kill()


def kept(home: Path) -> list[Transcript]:
    return transcripts.list_transcripts(Workspace(home / "ws"), "tiny")


def questions(terminal: Terminal, speaker: str = "tiny") -> list[str]:
    return [said[-1]["content"] for said, _ in terminal.asked[speaker]]
