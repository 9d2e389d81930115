"""Code for processes that work in an artifact, watch it, wait for its lock or hold it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from twinctl.workspace.workspace import Workspace

# A worker as `train` starts it, up to the training itself. ENDS: complete, failed, killed.
WORKER = """
import os, signal, sys, time
from pathlib import Path
from twinctl.pipeline.stop import Stop
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.lock import Lock
from twinctl.workspace.files import append_line, write_json

folder, steps, ends = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
argv = ["train", "--max-steps", str(steps), "--restart"]
artifact, stop = Artifact(folder), Stop()
Lock(folder, argv).acquire(wait=False)
stop.install()
(artifact.work / "out").mkdir(parents=True, exist_ok=True)
(artifact.path / "failure.json").unlink(missing_ok=True)
append_line(folder / "attempts.jsonl", {"attempt": 1, "argv": argv})
artifact.append_event("attempt", attempt=1)
with stop.deferred():
    for step in range(1, steps + 1):
        artifact.append_event("step", step=step, steps=steps, loss=2 / step, tokens=100 * step, seconds=0.5 * step)
        print("step", step, flush=True)
        time.sleep(0.1)
        if stop.requested:
            checkpoint = artifact.work / f"checkpoints/checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            write_json(checkpoint / "twinctl-checkpoint.json", {"files": []})
            artifact.append_event("checkpoint", step=step)
            artifact.append_event("stopped")
            sys.exit(128 + stop.requested)
if ends == "failed":
    artifact.fail("CheckFailed", f"the loss of step {steps} is nan", "lower --lr")
    sys.exit(8)
if ends == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
texts = dict.fromkeys(["phase", "slot", "fingerprint", "produces", "digest"], "train")
maps = {name: {} for name in ("recipe", "origins", "inputs", "parents", "metrics")}
artifact.commit(Record(**texts, **maps, version=1, warnings=[], files=[], created=0.0, seconds=0.0))
"""
# Has the lock's file open without holding it: waits for it.
WAITER = "import os, sys; os.open(sys.argv[1] + '/lock', os.O_RDWR); print('open', flush=True); sys.stdin.read()"
# Holds the lock, without saying so in owner.json.
HOLDER = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1] + '/lock', os.O_RDWR), fcntl.LOCK_EX)\n"
HOLDER += "print('held', flush=True); sys.stdin.read()"
WATCHER = """
import sys; from pathlib import Path
from twinctl.errors import TwinctlError; from twinctl.pipeline.watch import watch_to_the_end
from twinctl.workspace.artifact import Artifact
try: watch_to_the_end(Artifact(Path(sys.argv[1])), lambda event: print(event.kind, flush=True))
except TwinctlError as error: print(error.message); sys.exit(error.exit_code)
"""
Start = Callable[..., "subprocess.Popen[str]"]
MANY = 1000


Work = Callable[..., "subprocess.Popen[str]"]


def begin(workspace: Workspace, run: str, **started: str) -> None:
    """Let a run have begun these slots."""
    with workspace.runs.change(run) as stored:
        for slot, path in started.items():
            stored.started[slot] = path
            workspace.artifact(path).path.mkdir(parents=True)


def type_(*words: object) -> subprocess.Popen[str]:
    """Start a command and do not wait for it."""
    command = [sys.executable, "-m", "twinctl.cli.app", *map(str, words)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition: Callable[[], object]) -> None:
    """Wait for it, a minute at the most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
