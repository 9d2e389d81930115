"""What a run has: its base model, and its results by kind, whichever phase made them.

What must stay true: of several results of a kind the run means one that was made from what it now has; an adapter is
used with the very base model that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint, base_of
from twinctl.pipeline.kind import Kind, is_trained
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import AnyPhase
from twinctl.pipeline.staleness import changed_settings
from twinctl.workspace.artifact import Record
from twinctl.workspace.fingerprint import differences
from twinctl.workspace.memo import DigestMemo
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


@dataclass(frozen=True)
class RunView:
    """A run together with its workspace."""

    workspace: Workspace
    run: Run

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    def reload(self) -> RunView:
        """The run as it is on disk now."""
        return RunView(self.workspace, self.workspace.runs.get(self.name))

    @property
    def base(self) -> BaseCheckpoint:
        """The base model that prepare pinned."""
        return base_of(self.run)

    @property
    def memo(self) -> DigestMemo:
        """The workspace's memo of file digests."""
        return self.workspace.memo

    def result(self, slot: str) -> Result | None:
        """The finished result of a slot."""
        path = self.run.slots.get(slot)
        return Result.of(self.workspace.artifact(path)) if path else None

    def results(self) -> list[Result]:
        """All finished results, the one that was made or asked for last at the end."""
        artifacts = [self.workspace.artifact(path) for path in self.run.slots.values()]
        return [result for artifact in artifacts if (result := Result.of(artifact))]

    def find(self, kind: Kind, *, before: str | None = None) -> Result | None:
        """The finished result of that kind; see `_choose` for which of several.

        `before`: the slot of a phase that makes the kind that it builds on; its own results do not count, nor what was
        made from them.
        """

        def is_wanted(result: Result) -> bool:
            return result.kind == kind and (before is None or all(step.slot != before for step in result.line()))

        return self._choose(is_wanted)

    def need(self, kind: Kind, *, before: str | None = None) -> Result:
        """What `find` finds, its files checked. Raises UpstreamError with the command that makes it."""
        result = self.find(kind, before=before)
        if result is None:
            started = {slot: path for slot, path in self.run.started.items() if slot not in self.run.slots}
            states = [f"{slot} is {self.workspace.artifact(path).state()}" for slot, path in started.items()]
            under_way = f" ({', '.join(states)})" if states else ""
            raise UpstreamError(
                f"run “{self.name}” has no {kind} yet{under_way}",
                f"make it: twinctl {kind.command} --run {self.name}",
            )
        result.artifact.check(self.memo.sha256, self.name)
        return result

    def trained(self) -> Result:
        """What the training made: an adapter, or a whole model by method full.

        Raises UpstreamError when nothing is trained, or it was trained on another base model than the run now has: an
        adapter fits no other.
        """
        result = self._choose(lambda result: is_trained(result.record))
        if result is None:
            return self.need(Kind.ADAPTER)
        self.require_base(result.base_digest)
        result.artifact.check(self.memo.sha256, self.name)
        return result

    def require_base(self, digest: str | None) -> None:
        """Raise UpstreamError when a training on the base model of that digest was not on the one that the run has."""
        if digest != self.base.digest:
            raise UpstreamError(
                f"the training of run “{self.name}” was on another base model than the run now has",
                f"train again: twinctl train --run {self.name}",
            )

    def stale_reasons(self, record: Record, declared: AnyPhase | None) -> list[str]:
        """Field by field, what has changed since: the settings, the data, or what it was made from; empty when nothing
        has. `declared`: the phase that made it, None for one that this twinctl does not know. Asks no network.
        """
        own = [*changed_settings(declared, self.run, record), *declared.changed(self, record)] if declared else []
        return [*own, *self.changed_parents(record)]

    def changed_parents(self, record: Record) -> list[str]:
        """Which of the results that this one was made from were rebuilt since, however many steps back."""
        reasons = []
        for path in record.parents.values():
            parent = self.workspace.artifact(path).record()
            if parent is None or parent.slot == record.slot:  # it continued that one, whatever became of it since
                continue
            current = self.workspace.artifact(self.run.slots.get(parent.slot, path)).record()
            if current is None:
                continue
            if current.digest != parent.digest:
                details = differences(parent.recipe, current.recipe, parent.phase) or ["its data or model changed"]
                reasons.append(f"{parent.slot} was rebuilt: {', '.join(details)}")
            else:
                reasons += self.changed_parents(current)  # an equal result may have other parents
        return reasons

    def require_current(self, record: Record) -> None:
        """Raise UpstreamError when something that the result was made from was rebuilt since."""
        if reasons := self.changed_parents(record):
            raise UpstreamError(
                f"the {record.slot} of run “{self.name}” is stale: {'; '.join(reasons)}",
                f"rebuild it: twinctl {record.command_in(self.name)}",
            )

    def _choose(self, is_wanted: Callable[[Result], bool]) -> Result | None:
        """Of several such results: one made from what the run now has, before one of which another was made, else the
        one that was made or asked for last.
        """
        results = [result for result in self.results() if is_wanted(result)]
        current = [result for result in results if not self.changed_parents(result.record)]
        passed = {(parent.slot, parent.digest) for result in current for parent in result.ancestors()}
        ahead = [result for result in current if (result.slot, result.digest) not in passed]
        best = ahead or results
        return best[-1] if best else None
