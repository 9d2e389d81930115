"""A module of twinctl in a child process that reports in JSON lines: it may crash, hang, or hide a library.

What must stay true: the child imports this twinctl, in whatever folder it runs; it dies with its parent, and when the
parent stops reading; its stdout carries messages only, whatever libraries print; a TwinctlError that it raises is
raised in the parent, and any other end before its work is done is ChildDied.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from twinctl.errors import TwinctlError, error_of

Send = Callable[[Mapping[str, Any]], None]
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, prctl(2)


class ChildDied(Exception):
    """The child ended before its work was done. `status` is its exit code, or the negative number of a signal;
    `reason` the last line of the exception that ended it, if one did; `expired` says that its time was over.
    """

    def __init__(self, status: int, reason: str, expired: bool) -> None:
        super().__init__(reason or f"exit status {status}")
        self.status, self.reason, self.expired = status, reason, expired


def run_module(
    module: str, *arguments: str, stderr: IO[bytes] | int = subprocess.DEVNULL, seconds: float | None = None
) -> Iterator[dict[str, Any]]:
    """Run `python -m module arguments`, which calls `report`, and yield its messages until it has done its work.

    `stderr` gets what it and its libraries print; after `seconds` it is killed. Raises the TwinctlError that it raised,
    or ChildDied.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    # The folder that it runs in may have another package of this name.
    paths = [os.environ.get("PYTHONPATH", ""), *sys.path, str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    expired = threading.Event()
    end: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment
    ) as process:

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(seconds or 0.0, expire)
        if seconds:
            timer.start()
        try:
            for line in process.stdout or ():
                message = json.loads(line)
                if end := message.get("end", {}):
                    break
                yield message
            status = process.wait()
        except BaseException:  # Ctrl-C, or nobody wants the rest
            process.kill()
            raise
        finally:
            timer.cancel()
    if "error" in end:
        raise error_of(**end["error"])
    if not end.get("done"):
        raise ChildDied(status, end.get("reason", ""), expired.is_set())


def report(work: Callable[[Send], None]) -> NoReturn:
    """In the child: do the work, which sends messages, and end the process with what became of it."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)

        def send(message: Mapping[str, Any]) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        status = 0
        try:
            work(send)
            send({"end": {"done": True}})
        except TwinctlError as error:
            send({"end": {"error": error.document}})
        except Exception as error:
            traceback.print_exc()
            lines = traceback.format_exception_only(error)
            send({"end": {"reason": "".join(lines).strip().splitlines()[-1]}})
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # llama.cpp and torch may crash while they are torn down
