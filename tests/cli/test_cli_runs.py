"""runs, path and inspect: finding what was made, and under which name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.workspace.lock import Lock
from twinctl.workspace.run import Runs


@pytest.fixture
def two_runs(home: Path) -> Runs:
    """Two runs that point to nothing in particular; “my-posts” is current."""
    runs = Runs(home / ".twinctl")
    for name in ("tiny", "my-posts"):
        runs.point(name, "prepare", f"prepare/{name}-12345678", {"preset": "tiny"})
    runs.use("my-posts")
    return runs


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
    cli("runs", "use", "short").ok()
    assert current() == "short"
    marked = [line.split() for line in cli("runs").ok().out.splitlines() if line.startswith("*")]
    assert [words[:2] for words in marked] == [["*", "short"]]


@pytest.mark.parametrize("name", ["use", "rename", "rm"])
def test_every_part_of_runs_explains_itself(cli: Cli, name: str) -> None:
    shown = cli("runs", name, "-h").ok().out
    assert re.search(rf"^ +twinctl runs {name} ", shown, re.MULTILINE)
    assert {option for option in ("--workspace", "--json", "--quiet", "--debug", "-h") if option not in shown} == set()
    assert max(map(len, shown.splitlines())) <= 80
    assert f"  {name} " in cli("runs", "-h").ok().out


def test_use_makes_a_run_the_current_one(cli: Cli, two_runs: Runs) -> None:
    assert cli("runs", "use", "tiny").ok().out == "tiny is the current run\n"
    assert two_runs.current() == "tiny"
    document = cli("runs", "use", "my-posts", "--json").ok().document
    assert document == {"schema": 1, "command": "runs use", "run": "my-posts"}


def test_rename(cli: Cli, two_runs: Runs) -> None:
    assert cli("runs", "rename", "my-posts", "first").ok().out == "my-posts is first now\n"
    assert (set(two_runs.names()), two_runs.current()) == ({"tiny", "first"}, "first")
    document = cli("runs", "rename", "tiny", "second", "--json").ok().document
    assert document == {"schema": 1, "command": "runs rename", "run": "second", "was": "tiny"}


def test_rm_removes_names_and_says_when_the_results_go(cli: Cli, two_runs: Runs) -> None:
    shown = cli("runs", "rm", "tiny").ok()
    assert shown.out == "removed: tiny\n"
    assert "twinctl clean" in shown.err
    assert "no run is current" not in shown.err
    document = cli("runs", "rm", "my-posts", "--json").ok().document
    assert document == {"schema": 1, "command": "runs rm", "removed": ["my-posts"]}
    assert two_runs.names() == []


def test_without_a_current_run_commands_say_how_to_choose_one(cli: Cli, two_runs: Runs) -> None:
    shown = cli("runs", "rm", "my-posts").ok()
    assert "twinctl runs use NAME (tiny)" in shown.err
    listed = cli("runs").ok()
    assert "twinctl runs use NAME" in listed.err
    assert not any(line.startswith("*") for line in listed.out.splitlines())
    for words in (["train"], ["inspect", "train"], ["path"]):
        failed = cli(*words)
        assert failed.code == 4
        assert "no run is current; runs: tiny" in failed.err
        assert "twinctl runs use NAME" in failed.err


def test_what_is_typed_before_the_parts_name_counts_for_it(cli: Cli, two_runs: Runs, home: Path) -> None:
    Runs(home / "elsewhere").point("tiny", "prepare", "prepare/x-12345678")
    assert cli("runs", "-w", "elsewhere", "--json", "rm", "tiny").ok().document["removed"] == ["tiny"]
    assert two_runs.exists("tiny")
    assert cli("runs", "--quiet", "rm", "tiny").ok().err == ""


@pytest.mark.parametrize("words", [["use", "my-post"], ["rename", "my-post", "x"], ["rm", "tiny", "my-post"]])
def test_a_mistyped_run_gets_the_near_one(cli: Cli, two_runs: Runs, words: list[str]) -> None:
    shown = cli("runs", *words)
    assert (shown.code, shown.out) == (4, "")
    assert "did you mean “my-posts”?" in shown.err
    error = cli("runs", *words, "--json").document["error"]
    assert (error["code"], error["hint"]) == ("UpstreamError", "did you mean “my-posts”?")
    assert len(two_runs.names()) == 2


def test_a_taken_name_is_usage(cli: Cli, two_runs: Runs) -> None:
    assert cli("runs", "rename", "tiny", "my-posts").code == 2
    error = cli("runs", "rename", "tiny", "my-posts", "--json").document["error"]
    assert (error["code"], error["message"]) == ("UsageError", "there is a run “my-posts” already")


@pytest.mark.parametrize("words", [["rename", "tiny"], ["rm"], ["use"], ["delete", "tiny"], ["--use", "tiny"]])
def test_what_runs_cannot_do_is_usage(cli: Cli, two_runs: Runs, words: list[str]) -> None:
    assert cli("runs", *words).code == 2
    error = cli("runs", *words, "--json").document["error"]
    assert (error["code"], error["hint"]) == ("UsageError", "twinctl runs -h")


@pytest.mark.parametrize("words", [["rename", "tiny", "first"], ["rm", "my-posts", "tiny"]])
def test_a_run_that_is_worked_on_is_left_and_says_by_whom(
    cli: Cli, two_runs: Runs, home: Path, words: list[str]
) -> None:
    lock = Lock(home / ".twinctl" / "artifacts" / "prepare" / "tiny-12345678", ["prepare", "-d", "posts.jsonl"])
    lock.acquire(wait=False)
    shown = cli("runs", *words)
    assert shown.code == 5
    assert "twinctl prepare -d posts.jsonl" in shown.err
    assert set(two_runs.names()) == {"tiny", "my-posts"}
    lock.release()
    cli("runs", *words).ok()


def test_a_secret_is_no_name(cli: Cli, two_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hf_" + "q" * 30
    monkeypatch.setenv("HF_TOKEN", secret)
    shown = cli("runs", "rename", "tiny", secret)
    assert shown.code == 3
    assert secret not in shown.out + shown.err
    assert two_runs.exists("tiny")


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
    assert Path(cli("path", "gguf").ok().out.removesuffix("\n")).read_bytes() == b"GGUFq4_k_m"


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
