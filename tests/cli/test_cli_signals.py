"""prepare stopped at any moment: no half result, and the same command then succeeds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import rows, write_rows

ROWS = 6_000  # a second or two of work


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGINT, 130, "prepare was interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_stopped_prepare_leaves_no_record_and_can_be_repeated(
    cli: Cli, home: Path, prepare: list[str], number: signal.Signals, code: int, says: str
) -> None:
    write_rows(home / "posts.jsonl", rows(ROWS))
    command = [sys.executable, "-m", "twinctl.cli.app", *prepare]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while "1,000 rows" not in process.stderr.readline():
        assert process.poll() is None
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (code, ""), err
    assert says in err
    assert "Traceback" not in err
    assert list(home.rglob("record.json")) == []
    assert cli("status", "--json").ok().document["runs"][0]["phases"][0]["state"] == "partial"
    assert cli(*prepare, "--json").ok().document["metrics"]["rows_kept"] == ROWS


def test_work_left_by_a_kill_is_not_mixed_into_the_next_result(cli: Cli, prepare: list[str], home: Path) -> None:
    whole = cli(*prepare, "--json").ok().document
    (home / whole["path"]).parent.joinpath("record.json").unlink()
    torn = home / whole["path"] / "../work/out"
    torn.mkdir(parents=True)
    (torn / "train.arrow").write_bytes(b"cut")
    (torn / "leftover").touch()
    again = cli(*prepare, "--json").ok().document
    assert again["cached"] is False
    assert again["metrics"] == whole["metrics"]
    assert sorted(path.name for path in (home / again["path"]).iterdir()) == [
        "audit.json",
        "eval.arrow",
        "template.jinja",
        "tokens.json",
        "train.arrow",
    ]


def test_a_signal_that_finds_an_event_loop_at_work_ends_it_too() -> None:
    """asyncio prints what a callback raises and goes on; a prompt is drawn in such a callback."""
    program = (
        "import asyncio, os, signal; from twinctl.cli import app; signal.signal(signal.SIGTERM, app._terminate)\n"
        "async def prompt():\n"
        "    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)\n"
        "    await asyncio.sleep(20)\n"
        "asyncio.run(prompt())\n"
    )
    process = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (143, "")
