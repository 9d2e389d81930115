"""How fast twinctl answers, against `unsloth --help` in the same environment: medians of one run, and their ratios.

    uv run python tests/benchmarks/startup.py [ROUNDS]

The commands take turns, so that a machine that slows down slows all of them. Exit 1 when a bar is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
TWINCTL = str(BIN / "twinctl")
REFERENCE = "unsloth --help"
STEPS = ["--max-steps", "1", "--batch-size", "2"]
COMMANDS = {
    REFERENCE: ([str(BIN / "unsloth"), "--help"], 1.0),
    "twinctl --help": ([TWINCTL, "--help"], 0.45),
    "twinctl status": ([TWINCTL, "status"], 0.8),
    "twinctl inspect train": ([TWINCTL, "inspect", "train"], 0.8),
    "twinctl diff": ([TWINCTL, "diff", "tiny", "tiny"], 0.8),
    "twinctl logs": ([TWINCTL, "logs"], 0.8),
    "twinctl stop": ([TWINCTL, "stop"], 0.8),
    "twinctl runs": ([TWINCTL, "runs"], 0.8),
    "twinctl clean --dry-run": ([TWINCTL, "clean", "--dry-run"], 0.8),
    "twinctl prepare (cached)": ([TWINCTL, "prepare", "--preset", "tiny"], 0.8),
    "twinctl train (cached)": ([TWINCTL, "train", *STEPS], 0.8),
}


def seconds(command: list[str], folder: str) -> float:
    """The wall time of one run."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, list[float]]:
    """Wall times by command, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for words in (["prepare", "--preset", "tiny"], ["train", *STEPS]):
            seconds([TWINCTL, *words], folder)
        for counted in range(-1, rounds):
            for name, (command, _) in COMMANDS.items():
                taken = seconds(command, folder)
                if counted >= 0:
                    times[name].append(taken)
    return times


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    times = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
    reference = statistics.median(times[REFERENCE])
    missed = 0
    print(f"{'command':<28}{'median s':>10}{'ratio':>8}{'bar':>8}")
    for name, (_, bar) in COMMANDS.items():
        median = statistics.median(times[name])
        missed += median / reference > bar
        print(f"{name:<28}{median:>10.3f}{median / reference:>8.2f}{bar:>8.2f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
