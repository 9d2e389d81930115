"""No secret in any file written, nor on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli, Done
from tests.support.stand_ins import rows, write_rows

IN_ENV = {"HF_TOKEN": "hf_PlantedInTheEnvironment01", "COMET_API_KEY": "CometPlantedInTheEnvironment02"}
IN_FILE = {"HF_TOKEN": "hf_PlantedInTheFile03", "COMET_API_KEY": "CometPlantedInTheFile04"}


def leaks(folder: Path, secrets: dict[str, str], shown: list[Done]) -> list[str]:
    """Where a value stands: file names, or the text of an output."""
    values = [value.encode() for value in secrets.values()]
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".env"]
    found = [str(path) for path in files if any(value in path.read_bytes() for value in values)]
    texts = [done.out + done.err for done in shown]
    return found + [text for text in texts if any(value.decode() in text for value in values)]


def work(cli: Cli, shell: Cli, prepare: list[str], secrets: dict[str, str]) -> list[Done]:
    """A day's work, with the secrets pasted where they do not belong."""
    token = secrets["HF_TOKEN"]
    good = [shell(*prepare).ok(), *(cli(*words).ok() for words in (["train", "--json"], ["export"], ["status"]))]
    good += [cli("inspect", "train").ok(), cli("inspect", "prepare", "--json").ok(), cli("runs", "--json").ok()]
    bad = [
        shell("prepare", "--preset", "tiny", "-d", f"./{token}.jsonl"),
        shell("prepare", "--preset", "tiny", "--model", f"/{token}", "--json"),
        shell(*prepare, "--template", token, "--debug"),
        shell("push", secrets["COMET_API_KEY"], "--dry-run"),
        cli("train", "--model", token),
        cli(*prepare, "--run", f"{token}/", "--json"),
        # A pasted token that would otherwise work: as a name, a file, a setting.
        shell(*prepare, "--run", token),
        shell(*prepare, "-w", f"{token}/workspace"),
        shell(*prepare, "--revision", token),
        shell(*prepare, "--map", f"input={token}"),
        shell("train", "--rank", token),
        shell("train", "--seed", token, "--json"),
        shell(token),
    ]
    assert [done.code > 0 for done in bad] == [True] * len(bad)
    return good + bad


@pytest.fixture(autouse=True)
def nobody_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINCTL_TRAIN_TRACKING", "none")


def test_from_the_environment(
    cli: Cli, shell: Cli, home: Path, prepare: list[str], fakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in IN_ENV.items():
        monkeypatch.setenv(name, value)
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in IN_FILE.items()))
    shown = work(cli, shell, prepare, IN_ENV)
    assert leaks(home, IN_ENV, shown) + leaks(home, IN_FILE, shown) == []


def test_from_the_env_file(cli: Cli, shell: Cli, home: Path, prepare: list[str], fakes: None) -> None:
    (home / ".env").write_text("".join(f'{name}="{value}"\n' for name, value in IN_FILE.items()))
    shown = work(cli, shell, prepare, IN_FILE)
    assert leaks(home, IN_FILE, shown) == []


@pytest.mark.parametrize("words", [["--run"], ["-w"], ["--revision"], ["--seed", "1", "--map"]])
def test_secret_as_a_setting_is_refused_by_name(cli: Cli, home: Path, prepare: list[str], words: list[str]) -> None:
    (home / ".env").write_text(f"HF_TOKEN={IN_FILE['HF_TOKEN']}\n")
    shown = cli(*prepare, *words, IN_FILE["HF_TOKEN"])
    assert (shown.code, shown.out) == (3, "")
    assert "contains the value of HF_TOKEN" in shown.err
    assert "HF_TOKEN belongs in the environment or in .env" in shown.err
    assert not (home / ".twinctl").exists()


def test_secret_in_the_config_file_is_refused(cli: Cli, home: Path, prepare: list[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COMET_API_KEY", IN_ENV["COMET_API_KEY"])
    (home / "twinctl.toml").write_text(f'[prepare]\nrevision = "{IN_ENV["COMET_API_KEY"]}"\n')
    shown = cli(*prepare)
    assert shown.code == 3
    assert "prepare.revision (from twinctl.toml) contains the value of COMET_API_KEY" in shown.err


def test_only_the_two_keys_are_read_from_the_env_file(cli: Cli, home: Path, prepare: list[str]) -> None:
    (home / ".env").write_text("TWINCTL_WORKSPACE=elsewhere\nHTTP_PROXY=http://127.0.0.1:9\nHF_ENDPOINT=http://x\n")
    cli(*prepare).ok()
    assert (home / ".twinctl").is_dir()
    assert not (home / "elsewhere").exists()


def test_secret_in_a_row_that_fails_is_not_kept(cli: Cli, shell: Cli, home: Path, prepare: list[str]) -> None:
    (home / ".env").write_text(f"HF_TOKEN={IN_FILE['HF_TOKEN']}\n")
    write_rows(home / "posts.jsonl", [*rows(3), {IN_FILE["HF_TOKEN"]: "as a column"}])
    shown = shell(*prepare, "--debug")
    assert shown.code == 3
    assert leaks(home / ".twinctl", IN_FILE, [shown]) == []
    assert "<HF_TOKEN>" in (home / ".twinctl").rglob("failure.json").__next__().read_text()


def test_secrets_are_found_by_this_test(home: Path) -> None:
    (home / "deep").mkdir()
    (home / "deep/file").write_text(f"x{IN_ENV['HF_TOKEN']}x")
    assert leaks(home, IN_ENV, []) == [str(home / "deep/file")]
    assert leaks(home, IN_FILE, [Done(1, "", IN_FILE["HF_TOKEN"])]) == [IN_FILE["HF_TOKEN"]]
