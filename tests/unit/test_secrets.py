"""The two secrets come from the environment or from .env, and are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinctl.config.secrets import NAMES, load_secrets, redact

TOKEN = "hf_" + "a" * 34
KEY = "comet-" + "b" * 20


@pytest.fixture(autouse=True)
def clean_workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without .env, and an environment that is as before when the test is over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in NAMES:
        os.environ.pop(name, None)
    return tmp_path


def test_the_two_keys_of_the_file_are_read_and_no_other(clean_workdir: Path) -> None:
    (clean_workdir / ".env").write_text(
        f"HF_TOKEN={TOKEN}\nCOMET_API_KEY='{KEY}'\nPATH=/nowhere\nTWINCTL_PRESET=tiny\n"
    )
    before = dict(os.environ)
    load_secrets()
    assert dict(os.environ) == {**before, "HF_TOKEN": TOKEN, "COMET_API_KEY": KEY}


def test_the_environment_wins_over_the_file(clean_workdir: Path) -> None:
    (clean_workdir / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    os.environ["HF_TOKEN"] = "of the environment"
    load_secrets()
    assert os.environ["HF_TOKEN"] == "of the environment"


def test_an_empty_value_is_no_value(clean_workdir: Path) -> None:
    (clean_workdir / ".env").write_text(f"HF_TOKEN={TOKEN}\nCOMET_API_KEY=\n")
    os.environ["HF_TOKEN"] = ""
    load_secrets()
    assert os.environ["HF_TOKEN"] == TOKEN
    assert "COMET_API_KEY" not in os.environ


def test_a_value_is_taken_as_it_stands(clean_workdir: Path) -> None:
    os.environ["OTHER"] = "expanded"
    (clean_workdir / ".env").write_text("COMET_API_KEY=${OTHER}-key\n")
    load_secrets()
    assert os.environ["COMET_API_KEY"] == "${OTHER}-key"


def test_only_the_working_directory_s_file_is_read(clean_workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean_workdir / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    (clean_workdir / "below").mkdir()
    monkeypatch.chdir(clean_workdir / "below")
    load_secrets()
    assert "HF_TOKEN" not in os.environ


def test_every_secret_is_replaced_by_its_name_wherever_it_stands() -> None:
    os.environ.update(HF_TOKEN=TOKEN, COMET_API_KEY=KEY)
    assert redact(f"a {TOKEN}{TOKEN} b={KEY}.") == "a <HF_TOKEN><HF_TOKEN> b=<COMET_API_KEY>."


def test_text_without_a_secret_is_left_alone() -> None:
    assert redact("a common word") == "a common word"
    os.environ["HF_TOKEN"] = "word"  # too short to be a secret
    assert redact("a common word") == "a common word"
