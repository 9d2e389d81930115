"""What a person types: with an editor in a terminal, line by line elsewhere.

What must stay true: a question can have many lines, typed or pasted; the history of what was typed is kept, without
secrets; Ctrl-D at an empty line is an EOFError and Ctrl-C at one a KeyboardInterrupt, Ctrl-C at a line that is
not empty only drops it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twinctl.chat.loading import Loading
from twinctl.chat.screen import Screen
from twinctl.config.secrets import redact

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

QUOTES = '"""'
CompleteLine = Callable[[str], Sequence[str]]


class LineInput(Protocol):
    """Reads what a person types."""

    def read(self, label: str, text: str = "") -> str:
        """What was typed after the label, where `text` can be edited; empty if nothing was typed."""
        ...


def line_input(screen: Screen, loading: Loading, history: Path | None, complete: CompleteLine) -> LineInput:
    """An editor; in a dumb terminal, or for a pipe, plain lines."""
    if screen.is_terminal and sys.stdin.isatty():
        return Editor(screen, loading, history, complete)
    return Lines(screen)


class Lines:
    """Line by line, as a dumb terminal can. A backslash at a line's end continues it on the next one, and a text that
    begins with three quotes ends with three quotes.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def read(self, label: str, text: str = "") -> str:
        """See LineInput; what is typed replaces `text`."""
        try:
            self._screen.write(f"{label}> ")
            typed = input()
            while _is_incomplete(typed):
                self._screen.write("... ")
                typed = f"{typed.removesuffix(BACKSLASH)}\n{input()}"
        except (KeyboardInterrupt, EOFError):
            self._screen.write("\n")
            raise
        return _unquoted(typed) or text


class Editor:
    """prompt_toolkit's editor. Enter sends; Esc-Enter, or Enter after a backslash or within three quotes, begins a
    line.
    """

    def __init__(self, screen: Screen, loading: Loading, history: Path | None, complete: CompleteLine) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.output import create_output

        self._loading = loading
        self._session: PromptSession[str] = PromptSession(
            output=create_output(stdout=screen.stream),
            history=_history(history) if history else None,
            completer=_completer(complete),
            complete_while_typing=False,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation=lambda width, line, wraps: "" if wraps else "... ",
            reserve_space_for_menu=4,
            enable_open_in_editor=True,
            refresh_interval=0.5,
        )

    def read(self, label: str, text: str = "") -> str:
        """See LineInput. Raises what loading raised, as soon as it did."""
        self._session.bottom_toolbar = self._toolbar if self._loading.is_under_way else None
        try:
            typed = self._session.prompt([("bold ansigreen", f"{label}> ")], default=text, pre_run=self._watch)
        except KeyboardInterrupt:
            if self._session.default_buffer.text.strip():
                return ""
            raise
        return _unquoted(typed)

    def _toolbar(self) -> Any:
        return [("noreverse ansibrightblack", self._loading.label)]

    def _watch(self) -> None:
        """While a line is typed, show below it that the model loads, and remove that when it is loaded."""
        if self._session.bottom_toolbar is None:  # loading may have ended since that was set
            return
        import asyncio

        async def watch() -> None:
            while self._loading.is_under_way:
                await asyncio.sleep(0.1)
            self._session.bottom_toolbar = None
            if self._loading.error and not self._session.app.is_done:
                self._session.app.exit(exception=self._loading.error)
            self._session.app.invalidate()

        self._session.app.create_background_task(watch())


BACKSLASH = "\\"


def _is_incomplete(text: str) -> bool:
    """Whether Enter after this text begins a new line instead of sending it."""
    quoted = text.startswith(QUOTES) and not (text.rstrip().endswith(QUOTES) and len(text.rstrip()) >= 2 * len(QUOTES))
    return quoted or text.endswith(BACKSLASH)


def _unquoted(text: str) -> str:
    if not text.startswith(QUOTES):
        return text
    return text.strip().removeprefix(QUOTES).removesuffix(QUOTES).strip()


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if not _is_incomplete(buffer.text):
            buffer.validate_and_handle()
            return
        if buffer.text.endswith(BACKSLASH):
            buffer.cursor_position = len(buffer.text)
            buffer.delete_before_cursor()
        buffer.newline(copy_margin=False)

    @keys.add("escape", "enter")
    def newline(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


def _completer(complete: CompleteLine) -> Completer:
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.document import Document

    class Commands(Completer):
        def get_completions(self, document: Document, event: object) -> Any:
            text = document.text_before_cursor
            for line in complete(text):
                yield Completion(line, start_position=-len(text), display=line.strip().rsplit(" ", 1)[-1])

    return Commands()


def _history(path: Path) -> History | None:
    """The history file, which only its owner can read; None if it cannot be written."""
    from prompt_toolkit.history import FileHistory

    class Redacted(FileHistory):
        def append_string(self, string: str) -> None:
            super().append_string(redact(string))

        def store_string(self, string: str) -> None:
            with suppress(OSError):
                super().store_string(string)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return None
    return Redacted(str(path))
