"""`twinctl logs`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from twinctl.cli.command import command
from twinctl.cli.phase_args import PhaseArgument, begun, chosen_run
from twinctl.cli.session import Session
from twinctl.cli.watch import Viewer, event_text
from twinctl.errors import Interrupted, TwinctlError, UpstreamError
from twinctl.pipeline.event import Event
from twinctl.pipeline.watch import cut, finished, follow, follow_lines, what_happened
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.lock import is_locked

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def logs(
    session: Session,
    phase: PhaseArgument = None,
    to_the_end: Annotated[bool, typer.Option("--follow", "-f", help="Keep watching until the work ends.")] = False,
    library: Annotated[bool, typer.Option("--library", help="What the libraries printed (log.txt).")] = False,
) -> None:
    """What happened, line by line: in PHASE, else in the one that is running or was started last.

    \b
      twinctl logs
      twinctl logs train --follow     watch what another terminal started
      twinctl logs train --library    for a failure that comes from below
    """
    run = chosen_run(session)
    artifacts = begun(session, run, phase)
    if not artifacts:
        raise UpstreamError(f"nothing was started in run “{run.name}”", f"twinctl prepare --run {run.name}")
    chosen = max(artifacts, key=lambda slot: (is_locked(artifacts[slot].path), _last_change(artifacts[slot])))
    for slot in [chosen] if to_the_end or phase is None else artifacts:
        log = Log(session, slot, artifacts[slot], library=library)
        log.show(to_the_end=to_the_end)
        error = log.tell_the_end()
        if error and to_the_end:
            raise typer.Exit(error.exit_code)


def _last_change(artifact: Artifact) -> float:
    path = artifact.path / "events.jsonl"
    return path.stat().st_mtime if path.exists() else 0.0


class Log:
    """One artifact's log: its events or, with `library`, the lines of log.txt."""

    def __init__(self, session: Session, slot: str, artifact: Artifact, *, library: bool) -> None:
        self._output, self._slot, self._artifact, self._library = session.output, slot, artifact, library
        self._said: str | None = None

    def show(self, *, to_the_end: bool) -> None:
        """All there is; `to_the_end`, also what is still to come. Ctrl-C only stops watching."""
        alive = partial(is_locked, self._artifact.path) if to_the_end else lambda: False
        try:
            if to_the_end and not self._library and self._output.is_live and sys.stdout.isatty():
                self._live(alive)
            else:
                self._plain(alive)
        except KeyboardInterrupt as error:
            hint = f"it continues; to stop it: twinctl stop {self._slot}" if is_locked(self._artifact.path) else ""
            raise Interrupted("no longer watching", hint) from error

    def tell_the_end(self) -> TwinctlError | None:
        """Say how it ended, if it did; the error if not well."""
        if is_locked(self._artifact.path):
            self._output.say(f"{self._slot} is being worked on; to watch it: twinctl logs {self._slot} --follow")
            return None
        if made := self._artifact if finished(self._artifact) else cut(self._artifact):
            self._output.say(f"{self._slot} is complete: {made.out}")
            return None
        error = what_happened(self._artifact)
        if self._output.json:
            self._output.json_line({"phase": self._slot, "error": error.document})
        else:
            self._output.error(error)
            if not isinstance(error, Interrupted):
                self._output.say(f"what the libraries printed: {self._artifact.path / 'log.txt'}")
        return error

    def _live(self, alive: Callable[[], bool]) -> None:
        with Viewer(self._output, self._slot, "Ctrl-C stops watching; it continues") as viewer:
            for event in follow(self._artifact, alive):
                viewer.show(event)

    def _plain(self, alive: Callable[[], bool]) -> None:
        if self._library:
            for line in follow_lines(self._artifact.path / "log.txt", alive):
                text = line.decode(errors="replace")
                self._print({"text": text}, text)
        else:
            for event in follow(self._artifact, alive):
                self._print(event.stored(), self._text(event))

    def _print(self, document: Mapping[str, Any], text: str | None) -> None:
        if self._output.json:
            self._output.json_line({"phase": self._slot, **document})
        elif text is not None:
            self._output.line(text)

    def _text(self, event: Event) -> str | None:
        text = event_text(event, self._output.out.width - 10 if sys.stdout.isatty() else None)
        if text == self._said:  # 20% written, and a moment later still
            return None
        self._said = text
        if event.kind == "attempt":
            text = f"{text} on {_clock('%Y-%m-%d', event)}: {self._typed(event.whole('attempt'))}"
        return f"{_clock('%H:%M:%S', event)}  {text}" if text else None

    def _typed(self, attempt: int) -> str:
        lines = [line for line in self._artifact.attempts() if line.get("attempt") == attempt and "argv" in line]
        return shlex.join(["twinctl", *lines[0]["argv"]]) if lines else "unknown"


def _clock(form: str, event: Event) -> str:
    return time.strftime(form, time.localtime(event.time or 0))
