"""A conversation to be tested: begun at its first prompt, ended whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.repl import Start
from tests.support.terminal import Terminal


@pytest.fixture
def start_chat(home: Path) -> Iterator[Start]:
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
