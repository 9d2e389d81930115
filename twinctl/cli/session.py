"""What every command works with: the workspace, its run, and how a phase's result is shown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.cli.output import Output
from twinctl.cli.watch import Viewer
from twinctl.config.resolve import PREFIX
from twinctl.config.secrets import load_secrets, refuse_secret
from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.event import Event, Watch, events_of
from twinctl.pipeline.execute import Outcome, execute
from twinctl.pipeline.phase import AnyPlan
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


class _AtWork(Exception):
    """Raised out of the watching of a worker, which does not care."""


@dataclass
class Session:
    """A command's workspace and its ways to speak."""

    workspace: Workspace
    output: Output
    run_name: str | None

    @classmethod
    def open(cls, workspace: Path | None, run: str | None, *, json: bool, quiet: bool) -> Session:
        """Load the secrets and open the workspace; nothing is made yet."""
        load_secrets()
        root = workspace or Path(os.environ.get(f"{PREFIX}WORKSPACE") or ".twinctl")
        name = run or os.environ.get(f"{PREFIX}RUN")
        refuse_secret("the workspace's path", root)
        refuse_secret("the run's name", name)
        return cls(Workspace.open(root), Output(json=json, quiet=quiet), name)

    def run(self, preset: str | None = None, model_path: Path | None = None) -> Run:
        """The run, with what prepare pinned; with `model_path`, its base model found there from now on.

        Raises UpstreamError when there is no run, `preset` contradicts it, or the model there is another one.
        """
        run = self.workspace.run(self.run_name)
        if "preset" not in run.pins:
            raise UpstreamError(f"run “{run.name}” has no tokens yet", f"twinctl prepare --run {run.name}")
        self.refuse_contradiction(run, "preset", preset, "--preset")
        if model_path is not None:
            moved = base_of(run).moved_to(model_path, self.workspace.memo).stored()
            with self.workspace.runs.change(run.name) as stored:
                stored.pins["model"] = moved
            run.pins["model"] = moved
        return run

    def view(self, preset: str | None = None, model_path: Path | None = None) -> RunView:
        """The run that `run` gives, with its workspace."""
        return RunView(self.workspace, self.run(preset, model_path))

    @staticmethod
    def refuse_contradiction(run: Run, pin: str, wanted: object, flag: str) -> None:
        """Raise UpstreamError when a flag asks for something else than prepare pinned in the run."""
        pinned = run.pins["model"]["locator"] if pin == "model" else run.pins[pin]
        if wanted is not None and wanted != pinned:
            message = f"{flag} {wanted} contradicts run “{run.name}”, which was prepared with {pinned}"
            if pin == "preset":
                raise UpstreamError(message, f"prepare another run: twinctl prepare --preset {wanted} --run {wanted}")
            own = [
                word
                for source in run.pins["sources"]
                if source["role"] == "author"
                for word in ("-d", source["locator"])
            ]
            line = shlex.join(["twinctl", "prepare", "--run", run.name, flag, str(wanted), *own])
            raise UpstreamError(message, f"update the run: {line}")

    def execute(self, run: str, plan: AnyPlan, *, wait: bool = False, restart: bool = False) -> Outcome:
        """Do it, or take it from the cache, showing what happens."""
        with Viewer(self.output, plan.slot, "Ctrl-C stops it, with a checkpoint") as viewer:
            if not restart:
                viewer.recall(events_of(self.workspace.artifact(plan.path(self.workspace))))
            outcome = execute(self.workspace, run, plan, watch=viewer.show, wait=wait, restart=restart)
        for warning in outcome.record.warnings:
            self.output.warn(warning)
        return outcome

    @contextmanager
    def watching(self, slot: str) -> Iterator[Watch]:
        """Inside the block, a viewer's `show`, for other work on a slot's result than carrying out a plan."""
        with Viewer(self.output, slot) as viewer:
            yield viewer.show

    def say(self, text: str) -> None:
        """A line of progress for a person."""
        self.output.say(text)

    def begin(self, run: str, plan: AnyPlan, *, wait: bool = False, restart: bool = False) -> Outcome | None:
        """As `execute`, but None as soon as a worker has started: it continues by itself."""
        with Viewer(self.output, plan.slot) as viewer:

            def show(event: Event) -> None:
                viewer.show(event)
                if event.kind in ("attempt", "attached"):
                    raise _AtWork

            try:
                return execute(self.workspace, run, plan, watch=show, wait=wait, restart=restart)
            except _AtWork:
                return None

    def report_background_work(self, command: str, run: str, plan: AnyPlan) -> None:
        """After `begin`: how to watch what continues by itself, and how to stop it."""
        if self.output.json:
            path = self.workspace.artifact(plan.path(self.workspace)).path
            about = {"command": command, "phase": plan.phase.name, "state": "running", "cached": False}
            self.output.document({**about, "fingerprint": plan.fingerprint, "path": str(path)})
            return
        self.output.line(f"{plan.slot}: running in the background")
        self.output.say(f"to watch it: twinctl logs {command} --follow --run {run}")
        self.output.say(f"to stop it with a checkpoint: twinctl stop {command} --run {run}")

    def document(self, command: str, outcome: Outcome) -> dict[str, Any]:
        """The `--json` document of a finished phase, without the schema's number."""
        record = outcome.record
        return {
            "command": command,
            "phase": record.phase,
            "state": "complete",
            "cached": outcome.cached,
            "fingerprint": record.fingerprint,
            "path": str(outcome.artifact.out),
            "metrics": dict(record.metrics),
            "warnings": list(record.warnings),
        }

    def finish(
        self, command: str, outcome: Outcome, rows: list[list[str]], then: str, more: Mapping[str, Any] | None = None
    ) -> None:
        """Show a phase's result: a document with --json (with `more` in it), else a few lines and what to type next."""
        if self.output.json:
            self.output.document({**self.document(command, outcome), **(more or {})})
            return
        self.output.line(
            f"{outcome.record.slot}: {'already done (cached)' if outcome.cached else 'done'}  {outcome.artifact.out}"
        )
        self.output.table(rows)
        self.output.say(f"next: {then}")
