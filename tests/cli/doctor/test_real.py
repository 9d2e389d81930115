"""One real run of everything, in a pipe, with the time at which each line came."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import COMMAND, KEY, NAMES, TOKEN, CometWithAccount, HubWithTokens

pytestmark = pytest.mark.heavy


@dataclass
class Real:
    """What the real command printed, when, and what it left."""

    lines: list[str]
    seconds: list[float]
    err: str
    code: int
    left: list[Path]
    asked: list[Any]
    experiments: int

    def row(self, name: str) -> tuple[str, str]:
        """A check's state and finding in the table."""
        (line,) = [line for line in self.lines if line.startswith(f"{name:<11}  ")]
        state, found = re.split(" {2,}", line[11:].strip(), maxsplit=1)
        return state, found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    folder = tmp_path_factory.mktemp("doctor")
    with HubWithTokens() as hub, CometWithAccount(KEY) as comet:
        hub.rights[TOKEN] = {"role": "write"}
        kept = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": comet.url}
        pipe, began = subprocess.PIPE, time.monotonic()
        with subprocess.Popen(COMMAND, cwd=folder, env=kept | own, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout and process.stderr
            came = [(time.monotonic() - began, line.rstrip("\n")) for line in process.stdout]
            err = process.stderr.read()
        left = [path for path in folder.rglob("*") if path.name != "__pycache__"]
        seconds, lines = zip(*came, strict=True)
        return Real([*lines], [*seconds], err, process.returncode, left, hub.asked, len(comet.experiments))


def test_the_real_command_finds_this_machine_in_order(real: Real) -> None:
    assert real.code == 0, real.err
    assert [line[:11].strip() for line in real.lines if line[:11].strip()] == NAMES
    states = {name: real.row(name)[0] for name in NAMES}
    assert set(states.values()) <= {"ok", "warning"}
    assert {states[name] for name in ("python", "workspace", "torch", "kernel", "llama.cpp", "gguf", "unsloth")} == {
        "ok"
    }


def test_the_real_libraries_are_named_with_their_versions(real: Real) -> None:
    assert re.match(r"\d{4}\.\d+\.\d+ imports, with trl \d", real.row("unsloth")[1])
    assert re.match(r"2\.\d+", real.row("torch")[1])
    assert "xllamacpp" in real.row("llama.cpp")[1]
    assert real.row("hf token") == ("ok", "me's, role write: reads, writes")
    assert real.row("comet") == ("ok", "takes the key, workspace mine")


def test_each_line_comes_as_it_is_known(real: Real) -> None:
    assert real.seconds[-1] - real.seconds[0] > 3, "Unsloth alone takes longer"
    assert real.seconds[0] < real.seconds[-1] / 3
    assert "importing Unsloth" in real.err


def test_the_libraries_own_words_are_not_in_the_table(real: Real) -> None:
    assert "🦥" not in "".join(real.lines) + real.err
    assert len(real.err.splitlines()) == 1


def test_nothing_is_left_behind_nor_told(real: Real) -> None:
    assert real.left == []
    assert real.experiments == 0
    assert [asked for asked in real.asked if asked == TOKEN] == [TOKEN], "one question to the Hub"
    assert not [secret for secret in (TOKEN, KEY) if secret in "".join(real.lines) + real.err]
