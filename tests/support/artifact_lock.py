"""Another process that holds the lock of an artifact."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = (
    "import sys; from pathlib import Path; from twinctl.workspace.lock import Lock\n"
    "Lock(Path(sys.argv[1]), sys.argv[2:]).acquire(wait=False)\n"
    "print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process works in the folder as `twinctl prepare --elsewhere` until its input is closed."""
    command = [sys.executable, "-c", HOLD, str(folder), "prepare", "--elsewhere"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.communicate()
