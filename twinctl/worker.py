"""`python -m twinctl.worker JOB`: the process in which long phases run.

What must stay true: it inherits the lock's descriptor and never closes it, so the artifact is locked until the last
process of the worker is gone; it appends events and commits by itself; its output goes to the artifact's log.txt.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from twinctl.errors import TwinctlError
from twinctl.phases import phase
from twinctl.pipeline.phase import RestartWorker
from twinctl.pipeline.run_job import Job, perform
from twinctl.pipeline.stop import Stop


def main() -> int:
    """Perform the job named on the command line; the exit code is the error's."""
    stop = Stop()
    stop.install()
    path = Path(sys.argv[1])
    job = Job.load(path)
    try:
        declared = phase(job.phase)
        assert declared.run is not None
        perform(job, declared, declared.run, stop=stop)
    except RestartWorker as again:
        replace(job, options=again.options.model_dump(mode="json")).save(path)
        sys.stdout.flush()
        # The same process with nothing of the old one in it but the lock: what it held of the device is free.
        os.execv(sys.executable, [sys.executable, "-m", "twinctl.worker", str(path)])
    except TwinctlError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
