"""A viewer of a phase's events: a live line in a terminal, plain lines in a pipe, JSON lines with --json."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twinctl.cli.output import Output, age

if TYPE_CHECKING:
    from rich.status import Status

PLAIN_SECONDS = 5.0


class Viewer:
    """Shows events as they come; use it in a `with` block."""

    def __init__(self, output: Output, name: str) -> None:
        self._output, self._name = output, name
        self._status: Status | None = None
        self._said = 0.0

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def show(self, event: dict[str, Any]) -> None:
        """One event."""
        if self._output.json:
            self._output.event({"phase": self._name, **event})
            return
        text = _text(event)
        if text is None:
            return
        if self._output.is_live:
            self._live(text)
        elif event["event"] not in ("step", "progress") or self._is_due(event):
            self._output.say(f"{self._name}: {text}")

    def _live(self, text: str) -> None:
        from rich.markup import escape

        line = f"{escape(self._name)}: {escape(text)}"
        if self._status is None:
            self._status = self._output.err.status(line)
            self._status.start()
        else:
            self._status.update(line)

    def _is_due(self, event: dict[str, Any]) -> bool:
        """In a pipe: the first and the last step, and one every few seconds between."""
        now = time.monotonic()
        at_an_end = event["event"] == "step" and event["step"] in (1, event["steps"])
        if at_an_end or now - self._said >= PLAIN_SECONDS:
            self._said = now
            return True
        return False


def _text(event: dict[str, Any]) -> str | None:
    kind = event["event"]
    if kind in ("stage", "attached"):
        return str(event["text"])
    if kind == "step":
        return _step(event)
    if kind == "evaluation" and event.get("eval_loss") is not None:
        return f"eval loss at step {event['step']}: {event['eval_loss']:.4f}"
    if kind == "progress":
        return f"{event['rows']} rows" if "rows" in event else f"{event['bytes'] / event['of']:.0%} written"
    return None


def _step(event: dict[str, Any]) -> str:
    done, steps, seconds = event["step"], event["steps"], event["seconds"]
    speed = f"  {event['tokens'] / seconds:,.0f} tokens/s" if seconds else ""
    left = f"  {age(seconds / done * (steps - done))} left" if done < steps else ""
    return f"step {done}/{steps}  loss {event['loss']:.4f}{speed}{left}"
