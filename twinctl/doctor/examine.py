"""All checks, one after the other: the light ones here, the heavy ones each group in a process of its own.

What must stay true: the same checks are reported on every machine; a probe ends within its time, or is killed; where it
dies or hangs is a finding; what libraries print besides the findings is thrown away.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from twinctl.child_process import ChildDied, run_module
from twinctl.doctor.checks import Finding, checked, disk, driver, locks, model_cache, python
from twinctl.doctor.probe import PROBES, Probe


def examine(root: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    """What is found on this machine for a workspace at `root`, each as soon as it is known; `say` reports waits."""
    elsewhere = "twinctl clean --dry-run shows what can go; or choose another disk: --workspace DIR"
    yield checked("python", python, "uv sync")
    yield checked("workspace", partial(locks, root=root), "choose another folder: --workspace DIR")
    yield checked("disk", partial(disk, folder=root, hint=elsewhere), elsewhere)
    yield checked("model cache", model_cache, "uv sync")
    yield checked("driver", driver, "nvidia-smi")
    for group, probe in PROBES.items():
        if probe.wait:
            say(probe.wait)
        yield from probed(group, probe)


def probed(group: str, probe: Probe) -> Iterator[Finding]:
    """A finding for each of the probe's checks, also for the one where it hung or died, and for those after."""
    names, failed = list(probe.checks), ""
    try:
        for message in run_module("twinctl.doctor.probe", group, seconds=probe.seconds):
            finding = Finding(**message)
            names.remove(finding.name)
            failed = finding.name if finding.state == "failed" else ""
            yield finding
    except ChildDied as died:
        failed = names.pop(0)
        end = f"its process ended at once, with exit code {died.status}"
        if died.expired:
            end = f"no answer within {probe.seconds:.0f} seconds"
        elif died.status < 0:
            end = f"its process was killed ({signal.strsignal(-died.status)})"
        hint = f"{probe.hint}; what it prints: {sys.executable} -m twinctl.doctor.probe {group}"
        yield Finding(failed, "failed", end, hint)
    for name in names:
        yield Finding(name, "warning", f"not looked at, since {failed} failed", f"fix {failed} first")
