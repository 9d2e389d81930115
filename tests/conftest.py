"""What every test starts from: no network, no secrets, no settings of the person who runs them.

The tests run side by side, one process a core, each file in one of them (loadfile: what a file makes once stays made
once). What must stay true: every process that a test starts computes with one thread. Two trainings at a time with
the cores' number of threads each wait for one another, three times as long as with one thread; and a sum's last bits
depend on the number of threads.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# In CI a property test tries the same examples each time, so that a failure there is the change's and no throw of dice.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

for name in list(os.environ):
    if name.startswith(("TWINCTL_", "COMET_", "HF_")):
        del os.environ[name]
os.environ.update(HF_HUB_OFFLINE="1", NO_COLOR="1", COLUMNS="120", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

# Importing Unsloth is 9 seconds with bytecode and 22 without, and the tests' commands do it fifty times. Who wants no
# bytecode beside the sources gets it elsewhere.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "d" / "bytecode")
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ["PYTHONPYCACHEPREFIX"], False

# A shell that runs the tests in the background lets them ignore Ctrl-C, and nohup lets them ignore a closed terminal.
# Every command that they start would too, and the tests of these signals would wait for it until they time out.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

MOST_PROCESSES = 4  # there are no more long files
TESTS = Path(__file__).parent
# `-m fast` takes what is marked neither `heavy` nor `slow`, `gpu` or `network` in these folders, and does not even
# import the others.
FAST_FOLDERS = ("cli", "docs", "ollama", "publishing", "unit", "workspace")
NOT_FAST = ("heavy", "slow", "gpu", "network")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes run the tests; 0 is this one alone, as for one file, and for a GPU that has one user."""
    one_file = len(config.args) == 1 and ".py" in config.args[0]
    wants_gpu = "gpu" in config.option.markexpr.replace("not gpu", "")
    return 0 if one_file or wants_gpu else min(len(os.sched_getaffinity(0)), MOST_PROCESSES)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether a folder has no fast tests, where only these are wanted."""
    is_folder = collection_path.parent == TESTS and collection_path.is_dir()
    return True if config.option.markexpr == "fast" and is_folder and collection_path.name not in FAST_FOLDERS else None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fast tests. The long files come first, so that no process ends with one of them while the others have
    nothing left.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FAST_FOLDERS and not any(item.get_closest_marker(name) for name in NOT_FAST):
            item.add_marker("fast")
    items.sort(key=lambda item: item.path.parent.name != "engine")
