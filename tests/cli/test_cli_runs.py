"""runs, path and inspect: finding what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import Cli


def test_no_runs(cli: Cli) -> None:
    shown = cli("runs").ok()
    assert (shown.out, "twinctl prepare" in shown.err) == ("", True)
    assert cli("runs", "--json").ok().document == {"schema": 1, "command": "runs", "runs": []}


def test_prepare_starts_runs_and_the_last_is_current(cli: Cli, prepare: list[str]) -> None:
    cli(*prepare, "--run", "short", "--max-length", "200").ok()
    cli(*prepare, "--run", "long").ok()

    def current() -> str:
        runs = cli("runs", "--json").ok().document["runs"]
        assert [run["name"] for run in runs] == ["short", "long"]
        (name,) = [run["name"] for run in runs if run["current"]]
        return str(name)

    assert current() == "long"
    cli("runs", "--use", "short").ok()
    assert current() == "short"
    marked = [line.split() for line in cli("runs").ok().out.splitlines() if line.startswith("*")]
    assert [words[:2] for words in marked] == [["*", "short"]]


def test_commands_work_on_the_current_run_or_the_one_named(cli: Cli, prepare: list[str], monkeypatch: Any) -> None:
    first = cli(*prepare, "--run", "short", "--max-length", "200", "--json").ok().document["path"]
    second = cli(*prepare, "--run", "long", "--json").ok().document["path"]

    def tokens(*words: str) -> str:
        return str(cli("path", "tokens", *words).ok().out.strip())

    assert tokens() == str(Path(second).resolve())
    assert tokens("--run", "short") == str(Path(first).resolve())
    monkeypatch.setenv("TWINCTL_RUN", "short")
    assert tokens() == str(Path(first).resolve())
    assert tokens("--run", "long") == str(Path(second).resolve())


def test_path_of_one_kind_is_one_line_that_exists(cli: Cli, trained: dict[str, Any]) -> None:
    cli("export", "--merged", "--gguf").ok()
    for kind in ("tokens", "adapter", "model"):
        assert Path(cli("path", kind).ok().out.removesuffix("\n")).is_dir()
    assert Path(cli("path", "gguf").ok().out.removesuffix("\n")).read_bytes() == b"GGUFq8_0"


def test_path_of_all_kinds(cli: Cli, trained: dict[str, Any]) -> None:
    paths = cli("path", "--json").ok().document["paths"]
    assert paths["adapter"] == str(Path(trained["path"]).resolve())
    shown = dict(line.split(maxsplit=1) for line in cli("path").ok().out.splitlines())
    assert shown == paths
    assert list(shown) == ["tokens", "adapter"]


def test_inspect_has_everything_of_a_phase(cli: Cli, trained: dict[str, Any]) -> None:
    document = cli("inspect", "train", "--json").ok().document
    (phase,) = document["phases"]
    assert (document["run"], phase["slot"], phase["state"]) == ("tiny", "train", "complete")
    assert phase["record"]["fingerprint"] == trained["fingerprint"]
    assert phase["record"]["metrics"] == trained["metrics"]
    assert set(phase["request"]["inputs"]) == {"tokens", "base"}
    assert phase["attempts"][0]["attempt"] == 1
    shown = cli("inspect", "train").ok().out
    titles = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert titles[1:] == ["recipe", "inputs", "attempts", "metrics", "files"]
    assert "adapter_model.safetensors" in shown


def test_inspect_export_shows_every_file_made(cli: Cli, trained: dict[str, Any]) -> None:
    cli("export", "-q", "f16", "-q", "q8_0").ok()
    slots = [phase["slot"] for phase in cli("inspect", "export", "--json").ok().document["phases"]]
    assert slots == ["merge", "gguf-f16", "gguf-q8_0"]
