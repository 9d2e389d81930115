"""The one place where Unsloth is imported, before trl, transformers and peft, and kept quiet.

What must stay true: nothing below needs the network (models are local folders), nothing is reported home, and no
library draws on the terminal; what they print goes to a log.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinctl.engine.private_apis import patch_varlen_gqa
from twinctl.errors import EngineError
from twinctl.planning.device import require_usable_gpu
from twinctl.tracking import prepare_environment

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "TORCH_LOGS": "-all",
    "UNSLOTH_DISABLE_STATISTICS": "1",
}


def start_unsloth(device: str = "auto") -> Any:
    """Import Unsloth and return its module. Raises EngineError if Unsloth or the GPU cannot be used."""
    os.environ.update(QUIET)
    prepare_environment()
    # By default Unsloth writes code that it then imports to the working directory; a folder in /tmp could be anybody's.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache / "twinctl" / "unsloth_compiled_cache"))
    if device == "cpu":
        os.environ["UNSLOTH_FORCE_CPU"] = "1"
    require_usable_gpu(device)
    import warnings

    warnings.filterwarnings("ignore")
    patch_varlen_gqa()
    is_first = "unsloth" not in sys.modules
    gc.disable()  # imported modules stay: collecting among them took a fifth of the time
    try:
        import unsloth
    except Exception as error:  # it checks driver, torch build and packages, and raises many kinds
        raise EngineError(
            f"Unsloth cannot start: {error}", "fix the installation as the message says; in a clone of twinctl: uv sync"
        ) from error
    finally:
        if is_first:  # later there may be models, whose memory must be freed
            gc.freeze()  # Unsloth collects garbage nine times for a model, 0.3 s each
        gc.enable()
    return unsloth


@contextmanager
def into_log(path: Path) -> Iterator[None]:
    """Inside, all output of the process, also of C libraries, goes to the log and not to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with open(path, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, kept in enumerate(saved, 1):
            os.dup2(kept, descriptor)
            os.close(kept)
