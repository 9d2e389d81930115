"""Carry out a job: run the phase, commit the result, move the run's pointer. The same in a worker and without one.

What must stay true: the caller holds the artifact's lock; the record is committed before the pointer moves; a
failure leaves work/ and says so in failure.json; an interruption leaves work/ and nothing else.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from twinctl.config.secrets import redact
from twinctl.errors import Interrupted, SigTerm, Terminated, TwinctlError, explained
from twinctl.pipeline.event import Watch
from twinctl.pipeline.phase import REPORT, AnyAttempt, AnyPhase, AnyPlan, Attempt, Produced, RestartWorker
from twinctl.pipeline.stop import Stop
from twinctl.workspace.artifact import Artifact, Record, manifest
from twinctl.workspace.disk import full_disk
from twinctl.workspace.files import read_json, write_json
from twinctl.workspace.fingerprint import fingerprint
from twinctl.workspace.lock import Lock
from twinctl.workspace.workspace import Workspace

PACKAGES = ("unsloth", "unsloth_zoo", "trl", "transformers", "peft", "torch", "datasets", "accelerate", "bitsandbytes")


def command_words() -> list[str]:
    """The command line after the program's name, without secrets."""
    return [redact(word) for word in sys.argv[1:]]


@dataclass(frozen=True)
class Job:
    """A plan as plain values, so that it can cross to a worker. Paths may be absolute: it is gone after the commit.

    `inputs`: what `Plan.resolve_inputs` found, as JSON values.
    """

    workspace: str
    run: str
    phase: str
    slot: str
    path: str
    produces: str
    fingerprint: str
    payload: Mapping[str, Any]
    origins: Mapping[str, str]
    parents: Mapping[str, str]
    options: Mapping[str, Any]
    inputs: Mapping[str, Any]
    pins: Mapping[str, Any] | None
    argv: list[str]

    @classmethod
    def of(cls, workspace: Workspace, run: str, plan: AnyPlan) -> Job:
        """The job of a plan; finds out where the inputs are, which may download."""
        return cls(
            workspace=str(workspace.root.resolve()),
            run=run,
            phase=plan.phase.name,
            slot=plan.slot,
            path=plan.path(workspace),
            produces=plan.produces,
            fingerprint=plan.fingerprint,
            payload=plan.payload,
            origins=dict(plan.origins),
            parents=dict(plan.parents),
            options=plan.options.model_dump(mode="json"),
            inputs=TypeAdapter(plan.phase.inputs).dump_python(plan.resolve_inputs(), mode="json", by_alias=True),
            pins=plan.pins,
            argv=command_words(),
        )

    def save(self, path: Path) -> None:
        """Write it where `load` finds it."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Job:
        """The job that `save` wrote."""
        return cls(**read_json(path))


def perform(
    job: Job,
    phase: AnyPhase,
    run: Callable[[AnyAttempt], Produced],
    *,
    stop: Stop | None = None,
    watch: Watch | None = None,
) -> Record:
    """Do the phase's work, `run`, and commit. Raises what `run` raises, after recording it; RestartWorker is no
    failure.
    """
    workspace = Workspace.open(Path(job.workspace))
    artifact = workspace.artifact(job.path)
    attempt = _begin(job, phase, artifact, stop or Stop(), watch)
    began = time.monotonic()
    try:
        result = run(attempt)
        if result.carried_out is not None:
            return _commit_elsewhere(job, phase, result, workspace, began)
        record = _record(job, phase, result, artifact, began)
        artifact.commit(record)
        workspace.runs.point(job.run, job.slot, job.path, job.pins)
    except RestartWorker as again:
        attempt.event("retry", text=again.why)
        raise
    except SigTerm as error:
        raise Terminated(f"{phase.command} was terminated", "the same command resumes or restarts it") from error
    except KeyboardInterrupt as error:
        raise Interrupted(f"{phase.command} was interrupted", "the same command resumes or restarts it") from error
    except Interrupted:
        attempt.event("stopped")
        raise
    except Exception as error:
        # A library often reports a full disk as something else.
        full = None if isinstance(error, TwinctlError) else full_disk(artifact.path)
        record_failure(artifact, full or error)
        if full:
            raise full from error
        raise
    return record


def _commit_elsewhere(job: Job, phase: AnyPhase, result: Produced, workspace: Workspace, began: float) -> Record:
    """The result of another recipe than the one asked for becomes an artifact of its own, and the run's; what was asked
    for keeps its work/, to resume from.
    """
    assert result.carried_out is not None
    asked = workspace.artifact(job.path)
    payload = {**job.payload, "recipe": result.carried_out.model_dump(mode="json")}
    changed = [name for name, value in payload["recipe"].items() if job.payload["recipe"].get(name) != value]
    digest = fingerprint(payload)
    job = replace(
        job,
        payload=payload,
        fingerprint=digest,
        path=workspace.artifact_path(job.phase, asked.path.name.rsplit("-", 1)[0], digest),
        origins={**job.origins, **dict.fromkeys(changed, "flag")},
    )
    artifact = workspace.artifact(job.path)
    lock = Lock(artifact.path, job.argv)
    lock.acquire(wait=True)
    try:
        artifact.work.mkdir(exist_ok=True)
        shutil.rmtree(artifact.work / "out", ignore_errors=True)
        for name in ("attempts.jsonl", "events.jsonl"):
            shutil.copyfile(asked.path / name, artifact.path / name)
        write_json(artifact.path / "recipe.json", {**payload, "fingerprint": digest})
        os.rename(asked.work / "out", artifact.work / "out")
        record = _record(job, phase, result, artifact, began)
        artifact.commit(record)
        with workspace.runs.change(job.run) as run:  # `started` still names the one to resume
            run.slots.pop(job.slot, None)
            run.slots[job.slot] = job.path
    finally:
        lock.release()
    asked.append_event("cut", path=job.path, step=result.metrics.get("steps"))
    return record


def _begin(job: Job, phase: AnyPhase, artifact: Artifact, stop: Stop, watch: Watch | None) -> AnyAttempt:
    attempt = Attempt(
        artifact=artifact,
        number=max((line.get("attempt", 0) for line in artifact.attempts()), default=0) + 1,
        recipe=phase.recipe.model_validate(job.payload["recipe"]),
        options=phase.options.model_validate(job.options),
        inputs=TypeAdapter(phase.inputs).validate_python(job.inputs),
        run_name=job.run,
        stop=stop,
        watch=watch,
    )
    shutil.rmtree(attempt.out, ignore_errors=True)  # an earlier attempt's unfinished result
    attempt.out.mkdir(parents=True)
    attempt.note(
        time=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
        argv=job.argv,
        options=dict(job.options),
        python=platform.python_version(),
        versions=_versions(),
    )
    attempt.event("attempt", attempt=attempt.number)
    attempt.stop.before_exit = lambda: attempt.event("stopped")
    return attempt


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("twinctl", *PACKAGES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _record(job: Job, phase: AnyPhase, result: Produced, artifact: Artifact, began: float) -> Record:
    files = manifest(artifact.work / "out")
    identity = {entry.name: entry.sha256 for entry in files if not entry.name.endswith(REPORT)}
    is_own = job.argv[:1] == phase.command.split()[:1]  # not so when another command, or a script, had it made
    return Record(
        phase=job.phase,
        slot=job.slot,
        version=phase.version,
        fingerprint=job.fingerprint,
        produces=job.produces,
        recipe=job.payload["recipe"],
        origins=job.origins,
        inputs=job.payload["inputs"],
        parents=job.parents,
        digest=result.digest or fingerprint(identity),
        metrics=result.metrics,
        warnings=result.warnings,
        files=files,
        created=time.time(),
        seconds=round(time.monotonic() - began, 3),
        about={"command": rerun_command(job.argv) if is_own else phase.command, "run": job.run},
    )


def rerun_command(argv: Sequence[str]) -> str:
    """What was typed, to be typed again: without the run, which may be renamed or not the only one to have a result."""
    unneeded = {"--json", "--quiet", "--debug", "--restart", "--wait", "--run"}
    words = [
        word
        for before, word in pairwise(["", *argv])
        if word not in unneeded and before != "--run" and not word.startswith("--run=")
    ]
    return shlex.join(words)


def record_failure(artifact: Artifact, error: Exception) -> None:
    """Write down what went wrong: the trace in log.txt, message and hint in failure.json."""
    known = explained(error)
    shown = known or TwinctlError(f"{type(error).__name__}: {error}")
    with suppress(OSError):  # a full disk has no room for this either
        artifact.fail(known.code if known else "Bug", redact(shown.message), redact(shown.hint))
        artifact.append_event("failed", message=redact(shown.message))
        with open(artifact.path / "log.txt", "a", encoding="utf-8") as log:
            log.write(redact("".join(traceback.format_exception(error))))
