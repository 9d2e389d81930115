"""A module in a child process: its messages, its errors and its death arrive in the parent, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twinctl.child_process import ChildDied, run_module
from twinctl.errors import ConfigError

HEAD = "import os, pathlib, signal, sys, time\nfrom twinctl.child_process import report\nfrom twinctl.errors import *\n"


@pytest.fixture(autouse=True)
def folder_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the working directory and on the module path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(code: str) -> str:
    """A module `planted`, whose function `work` has this code; its name."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    Path("planted.py").write_text(f"{HEAD}def work(send):\n{body}if __name__ == '__main__':\n    report(work)\n")
    return "planted"


def test_messages_arrive_in_order_and_prints_do_not(capfd: pytest.CaptureFixture[str]) -> None:
    name = write("send({'at': sys.argv[1]})\nprint('NOISE')\nos.system('echo NOISE')\nsend({'at': 'ä' * 300_000})")
    with open("log", "wb") as log:
        messages = list(run_module(name, "first", stderr=log))
    assert messages == [{"at": "first"}, {"at": "ä" * 300_000}]
    assert Path("log").read_text().count("NOISE") == 2
    assert capfd.readouterr() == ("", "")


def test_an_error_of_twinctl_is_raised_here() -> None:
    name = write("raise ConfigError('not so', 'but so')")
    with pytest.raises(ConfigError, match="not so") as caught:
        list(run_module(name))
    assert caught.value.hint == "but so"


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("raise ValueError('one\\ntwo')", 1, "two"),
        ("raise KeyError('x')", 1, "KeyError: 'x'"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11, ""),
        ("os._exit(0)", 0, ""),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_a_death_is_said_with_its_status(code: str, status: int, reason: str) -> None:
    with pytest.raises(ChildDied) as caught:
        list(run_module(write(code)))
    assert (caught.value.status, caught.value.reason, caught.value.expired) == (status, reason, False)


def test_a_child_that_takes_too_long_is_killed() -> None:
    with pytest.raises(ChildDied) as caught:
        list(run_module(write("time.sleep(60)"), seconds=1))
    assert caught.value.expired


def test_a_child_whose_messages_are_not_read_on_is_killed() -> None:
    messages = run_module(write("send({'pid': os.getpid()})\ntime.sleep(60)"))
    pid = next(messages)["pid"]
    messages.close()
    assert not Path("/proc", str(pid)).exists()


def test_a_child_dies_with_its_parent() -> None:
    name = write("send({'pid': os.getpid()})\ntime.sleep(60)")
    parent = f"from twinctl.child_process import run_module\nprint(next(run_module('{name}'))['pid'], flush=True)\n"
    parent += "import os; os._exit(0)"
    command = [sys.executable, "-c", parent]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    pid = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert pid
    end = time.monotonic() + 10
    while Path("/proc", pid).exists() and "Z" not in Path("/proc", pid, "stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_another_twinctl_in_the_working_directory_is_not_the_child_s(folder_of_modules: Path) -> None:
    sys.path.remove(str(folder_of_modules))
    (folder_of_modules / "twinctl").mkdir()
    (folder_of_modules / "twinctl" / "__init__.py").write_text("raise ImportError('the wrong one')")
    with pytest.raises(ChildDied) as caught:
        list(run_module("twinctl.data.transformers_tokenizer", "/nowhere"))
    assert "the wrong one" not in caught.value.reason and "Error" in caught.value.reason
