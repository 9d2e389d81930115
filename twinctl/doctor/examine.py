"""All checks, one after the other: the light ones here, the heavy ones each group in a process of its own.

What must stay true: the same checks are told of on every machine; a probe ends within its time, or is killed; where it
dies or hangs is a finding; what libraries print beside the findings is thrown away.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from twinctl.doctor.checks import Finding, checked, disk, driver, locks, model_cache, python
from twinctl.doctor.probe import PROBES, Probe


def examine(root: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    """What is found on this machine for a workspace at `root`, each as soon as it is known; `say` tells of waits."""
    elsewhere = "twinctl clean --dry-run shows what can go; or choose another disk: --workspace DIR"
    yield checked("python", python, "uv sync")
    yield checked("workspace", partial(locks, root=root), "choose another folder: --workspace DIR")
    yield checked("disk", partial(disk, folder=root, mend=elsewhere), elsewhere)
    yield checked("model cache", model_cache, "uv sync")
    yield checked("driver", driver, "nvidia-smi")
    for group, probe in PROBES.items():
        if probe.wait:
            say(probe.wait)
        yield from probed(group, probe)


def probed(group: str, probe: Probe) -> Iterator[Finding]:
    """A finding for each of the probe's checks, also for the one where it hung or died, and for those after."""
    expired = threading.Event()
    names, failed = list(probe.checks), ""
    with _started(group) as process:
        timer = threading.Timer(probe.seconds, _expire, (process, expired))
        timer.start()
        try:
            for line in process.stdout or ():
                finding = Finding(**json.loads(line))
                names.remove(finding.name)
                failed = finding.name if finding.state == "failed" else ""
                yield finding
            process.wait()
        except BaseException:  # Ctrl-C, or nobody wants the rest
            process.kill()
            raise
        finally:
            timer.cancel()
    if names and not failed:
        failed = names.pop(0)
        mend = f"{probe.mend}; what it prints: {sys.executable} -m twinctl.doctor.probe {group}"
        yield Finding(failed, "failed", _end(process.returncode, expired.is_set(), probe.seconds), mend)
    for name in names:
        yield Finding(name, "warning", f"not looked at, since {failed} failed", f"mend {failed} first")


def _started(group: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "twinctl.doctor.probe", group]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, text=True)


def _expire(process: subprocess.Popen[str], expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _end(code: int, expired: bool, seconds: float) -> str:
    if expired:
        return f"no answer within {seconds:.0f} seconds"
    if code < 0:
        return f"its process was killed ({signal.strsignal(-code)})"
    return f"its process ended at once, with exit code {code}"
