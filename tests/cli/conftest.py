"""Fixtures: the command line in this process (fast) and in one of its own (as people run it), in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.commands import Cli, Done
from tests.support.prepared import Prepare, Prepared, load
from tests.support.stand_ins import fake_gguf, fake_merge, fake_train, make_model, rows, write_rows
from twinctl.cli.app import app
from twinctl.phases import gguf, merge, merge_4bit, train


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; whatever a command puts into the environment is taken out again."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def cli() -> Cli:
    """Run a command in this process."""

    def run(*words: object, input: str | None = None) -> Done:
        done = CliRunner().invoke(app, [str(word) for word in words], input=input, prog_name="twinctl")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def shell() -> Cli:
    """Run a command in a process of its own."""

    def run(*words: object, input: str | None = None, **env: str) -> Done:
        command = [sys.executable, "-m", "twinctl.cli.app", *map(str, words)]
        done = subprocess.run(
            command, input=input or "", env={**os.environ, **env}, capture_output=True, text=True, timeout=60
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def posts(home: Path) -> Path:
    """Sixty of the author's rows."""
    return write_rows(home / "posts.jsonl", rows(60))


@pytest.fixture
def prepare(posts: Path, model: Path) -> list[str]:
    """A `prepare` that works: the words after `twinctl`."""
    return ["prepare", "--preset", "tiny", "--model", str(model), "-d", posts.name]


@pytest.fixture
def prepared(cli: Cli, prepare: list[str]) -> dict[str, Any]:
    """A workspace with tokens; the document of the command that made them."""
    return cli(*prepare, "--json").ok().document


@pytest.fixture
def prepares(cli: Cli, home: Path, model: Path) -> Prepare:
    """Run `prepare` with these words on the tiny preset and the small model, if they name none; what it leaves."""

    def run(*words: object, input: str | None = None) -> Prepared:
        own = Path(str(words[words.index("--model") + 1])) if "--model" in words else model
        common = ("prepare", "--preset", "tiny", "--model", model, "--json")
        return load(cli(*common, *words, input=input).ok().document, own)

    return run


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """train, the merges and gguf at once and without a worker."""
    for phase, run in ((train, fake_train), (merge, fake_merge), (merge_4bit, fake_merge), (gguf, fake_gguf)):
        monkeypatch.setattr(phase, "PHASE", replace(phase.PHASE, run=run, in_worker=False))


@pytest.fixture
def trained(prepared: dict[str, Any], fakes: None, cli: Cli) -> dict[str, Any]:
    """A workspace with tokens and an adapter; the document of `train`."""
    return cli("train", "--json").ok().document
