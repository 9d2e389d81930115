"""What a conversation shows and keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.terminal import Terminal
from twinctl.chat import transcripts
from twinctl.chat.transcripts import Transcript
from twinctl.workspace.workspace import Workspace

Start = Callable[..., Terminal]
GREETING = (
    "temperature 0.7, top-p 0.95, min-p 0.05, at most 256 tokens, seed 0; /help lists the commands, Ctrl-D leaves"
)
TWO = "[2 tokens, 4.0 tokens/s, ended by itself]"
KEPT = "saved as conversation 1; to resume it: twinctl chat --resume 1"


def kept(home: Path) -> list[Transcript]:
    return transcripts.list_transcripts(Workspace(home / "ws"), "tiny")


def questions(terminal: Terminal, speaker: str = "tiny") -> list[str]:
    return [said[-1]["content"] for said, _ in terminal.asked[speaker]]
