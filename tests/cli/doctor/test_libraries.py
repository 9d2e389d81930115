"""Libraries that are broken, die or hang are findings."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.doctor import COMMAND, NAMES, TOKEN, finding


@pytest.mark.heavy
def test_a_library_that_raises_is_a_finding_with_its_mend(
    cli: Cli, only: Any, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("unsloth")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    library("unsloth", f"print('NOISE')\nraise RuntimeError('no kernels here\\nwith {TOKEN}')")
    done = cli("doctor")
    assert done.code == 8
    assert "failed   Unsloth cannot start: no kernels here with <HF_TOKEN>" in done.out
    assert "uv sync" in done.out
    assert "NOISE" not in done.out + done.err
    assert TOKEN not in done.out + done.err


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its process was killed (Segmentation fault)"),
        ("import os; os._exit(0)", "its process ended at once, with exit code 0"),
        ("raise SystemExit('out')", "SystemExit: out"),
        ("import time; time.sleep(60)", "no answer within 4 seconds"),
    ],
)
def test_a_library_that_dies_or_hangs_is_a_finding(cli: Cli, only: Any, library: Any, code: str, text: str) -> None:
    only("gguf", seconds=4)
    library("gguf", code)
    done = cli("doctor", "--json")
    assert done.code == 8
    found = finding(done, "gguf")
    assert (found["state"], found["found"]) == ("failed", text)
    assert "--reinstall-package gguf" in found["hint"]


def test_what_could_not_be_looked_at_is_said(cli: Cli, only: Any, library: Any) -> None:
    only("torch")
    library("torch", "raise ImportError('libcudart.so.13: cannot open shared object file')")
    done = cli("doctor", "--json")
    assert "libcudart.so.13" in finding(done, "torch")["found"]
    assert [check["name"] for check in done.document["checks"]] == NAMES[:9]
    assert {finding(done, name)["found"] for name in ("gpu", "kernel", "memory")} == {
        "not looked at, since torch failed"
    }


def test_ctrl_c_ends_the_probe_too(home: Path, library: Any) -> None:
    library("torch", "import os, pathlib, time\npathlib.Path('pid').write_text(f'{os.getpid()} ')\ntime.sleep(60)")
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        while not ((home / "pid").exists() and (home / "pid").read_text().endswith(" ")):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not Path("/proc", (home / "pid").read_text().strip()).exists()
