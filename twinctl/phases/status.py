"""What a run has, in which state, why stale, and what to type: read off the disk, without a network.

What must stay true: a damaged result is a state like any other, and hides nothing else; only `verify` reads files
whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.phases import declared
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_job import rerun_command
from twinctl.pipeline.run_view import RunView
from twinctl.pipeline.watch import kept_step
from twinctl.verification.verify_artifact import is_proven, to_prove
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.lock import read_owner
from twinctl.workspace.memo import file_sha256


@dataclass(frozen=True)
class SlotStatus:
    """One artifact of a run. `state`: complete, stale, running, partial, failed, absent or damaged.

    `artifact`: its folder, relative to artifacts/. `reasons`: why it is stale. `step`: the checkpoint that an
    unfinished one continues from. `created`: when it was finished. `type`: the command that continues, repairs or
    proves it. `verified` and `unproven` are None, never False.
    """

    slot: str
    artifact: str
    state: str
    bytes: int
    reasons: list[str] = field(default_factory=list)
    step: int | None = None
    failure: str | None = None
    created: float | None = None
    type: str | None = None
    verified: bool | None = None
    unproven: bool | None = None

    def document(self) -> dict[str, Any]:
        """As plain values, for scripts."""
        return asdict(self)


def run_status(view: RunView, *, verify: bool = False) -> list[SlotStatus]:
    """One for each slot: the finished artifact, and one begun later if there is one."""
    return [
        _status(view, slot, path, verify=verify)
        for slot, started in view.run.started.items()
        for path in dict.fromkeys([view.run.slots.get(slot), started])
        if path is not None
    ]


def _status(view: RunView, slot: str, path: str, *, verify: bool) -> SlotStatus:
    artifact = view.workspace.artifact(path)
    status = SlotStatus(slot, path, artifact.state(), artifact.size())
    if status.state == "complete" and view.run.slots.get(slot) != path:
        status = replace(status, state="partial")  # killed before the run pointed to it: the same command repairs that
    try:
        if status.state == "complete":
            return _finished(view, artifact, status, verify=verify)
        failure = artifact.failure()
        follow = f"twinctl logs {artifact.path.parent.name} --follow --run {view.name}"
        command = follow if status.state == "running" else resume_command(artifact, view.name)
        return replace(status, step=kept_step(artifact), failure=failure.message if failure else None, type=command)
    except UpstreamError as error:
        return replace(status, state="damaged", failure=error.message, type=error.hint.split(": ", 1)[-1])


def _finished(view: RunView, artifact: Artifact, status: SlotStatus, *, verify: bool) -> SlotStatus:
    result = Result.of(artifact)
    assert result is not None
    record = original = result.record
    if record.phase == "pull":  # as it was recorded where it was made; to load what reads that takes long
        from twinctl.publishing.provenance import original_record

        original = original_record(result)
    artifact.check(file_sha256 if verify else None, view.name)
    reasons = view.stale_reasons(record, declared(record.phase))
    unproven = not is_proven(original)
    prove = to_prove(record, view.name) if unproven else None
    return replace(
        status,
        state="stale" if reasons else "complete",
        reasons=reasons,
        created=record.created,
        verified=verify or None,
        unproven=unproven or None,
        type=f"twinctl {record.command_in(view.name)}" if reasons else prove,
    )


def resume_command(artifact: Artifact, run: str) -> str:
    """What was typed last to have it made, or the phase's own command where another one, or a script, had it done."""
    name = artifact.path.parent.name
    phase = declared(name)
    command = phase.command if phase else name
    typed = [(read_owner(artifact.path) or {}).get("argv", [])]
    typed += [line["argv"] for line in reversed(artifact.attempts()) if line.get("argv")]
    again = next((rerun_command(argv) for argv in typed if argv[:1] == command.split()[:1]), command)
    return f"twinctl {again} --run {run}"
