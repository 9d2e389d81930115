"""init: a config file to edit, and a .env for the tokens."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import pytest

import twinctl
from tests.support.commands import Cli
from twinctl.cli.init import SECTIONS
from twinctl.config.presets import NAMES


@pytest.mark.parametrize("preset", NAMES)
def test_every_line_uncommented_is_valid(cli: Cli, home: Path, preset: str) -> None:
    cli("init", "--preset", preset).ok()
    text = (home / "twinctl.toml").read_text()
    as_written = tomllib.loads(text)
    assert as_written == {"preset": preset, **{section: {} for section in SECTIONS}}
    full = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    for section, models in SECTIONS.items():
        known = {name: model for model in models for name in model.model_fields}
        assert set(full[section]) <= set(known)
        unset = {name for model in models for name, field in model.model_fields.items() if field.default is None}
        assert known.keys() - full[section].keys() <= unset  # TOML has no word for none
        for model in models:
            model.model_validate({name: value for name, value in full[section].items() if known[name] is model})
    assert full["prepare"]["max_length"] == (256 if preset == "tiny" else 2048)


def test_what_it_writes_changes_no_setting(cli: Cli, prepare: list[str]) -> None:
    before = cli(*prepare, "--json").ok().document
    cli("init", "--preset", "tiny").ok()
    assert cli(*prepare, "--json").ok().document == {**before, "cached": True}


def test_its_preset_is_used(cli: Cli, prepare: list[str]) -> None:
    cli("init", "--preset", "tiny").ok()
    cli(*(word for word in prepare if word not in ("--preset", "tiny"))).ok()
    assert cli("runs", "--json").ok().document["runs"][0]["name"] == "tiny"


def test_env_is_for_its_owner_alone_and_is_kept(cli: Cli, home: Path) -> None:
    cli("init").ok()
    env = home / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert all(re.search(f"^# {name}=$", env.read_text(), re.MULTILINE) for name in ("HF_TOKEN", "COMET_API_KEY"))
    env.write_text("HF_TOKEN=mine")
    assert cli("init", "--force", "--json").ok().document["written"] == ["twinctl.toml"]
    assert env.read_text() == "HF_TOKEN=mine"


def test_the_example_is_in_the_repository(cli: Cli, home: Path) -> None:
    cli("init").ok()
    assert (Path(twinctl.__file__).parents[1] / ".env.example").read_text() == (home / ".env").read_text()


def test_nothing_is_overwritten(cli: Cli, home: Path) -> None:
    (home / "twinctl.toml").write_text("# mine")
    shown = cli("init")
    assert (shown.code, shown.out) == (2, "")
    assert "--force" in shown.err
    assert (home / "twinctl.toml").read_text() == "# mine"
    assert not (home / ".env").exists()
    cli("init", "--force").ok()
    assert "[train]" in (home / "twinctl.toml").read_text()


def test_unknown_preset_writes_nothing(cli: Cli, home: Path) -> None:
    assert cli("init", "--preset", "huge").code == 3
    assert list(home.iterdir()) == []
