"""clean: shows what goes and why, frees it, and leaves what a run points to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.workspace.lock import Lock
from twinctl.workspace.workspace import Workspace


@pytest.fixture
def place(home: Path) -> Workspace:
    """A workspace with an artifact that a run points to and one of 2048 bytes that none does."""
    place = Workspace.open(home / ".twinctl")
    place.create()
    for name in ("kept-12345678", "old-12345678"):
        place.artifact(f"train/{name}").work.mkdir(parents=True)
        (place.artifact(f"train/{name}").work / "file").write_bytes(b"x" * 2048)
    place.runs.point("tiny", "train", "train/kept-12345678")
    return place


def test_nothing_to_clean(cli: Cli, home: Path) -> None:
    assert cli("clean").ok().out == "nothing to clean in .twinctl\n"
    assert cli("clean", "--json").ok().document == {
        "schema": 1,
        "command": "clean",
        "dry_run": False,
        "freed_bytes": 0,
        "removed": [],
        "kept": [],
    }
    assert list(home.iterdir()) == []


def test_dry_run_shows_the_same_and_removes_nothing(cli: Cli, place: Workspace) -> None:
    before = sorted(place.root.rglob("*"))
    shown = cli("clean", "--dry-run").ok()
    assert [line.split(maxsplit=3) for line in shown.out.splitlines()] == [
        ["what", "size", "why"],
        ["artifacts/train/old-12345678", "2.0", "KiB", "no run points to it"],
        ["would", "free", "2.0", "KiB"],
    ]
    assert "twinctl clean" in shown.err
    assert sorted(place.root.rglob("*")) == before
    told = cli("clean").ok().out
    assert told == shown.out.replace("would free", "freed")
    assert not (place.artifact("train/old-12345678").path).exists()
    assert place.artifact("train/kept-12345678").state() == "partial"
    assert cli("clean").ok().out == "nothing to clean in .twinctl\n"


def test_what_was_piped_in_stays_with_the_runs_that_are_made_from_it(cli: Cli, place: Workspace) -> None:
    spool = place.root / "stdin"
    spool.mkdir()
    for name, minutes in (
        ("0123456789abcdef.jsonl", 90),
        ("fedcba9876543210.txt", 90),
        ("9.partial", 90),
        ("new.txt", 9),
    ):
        (spool / name).write_text("my own words")
        os.utime(spool / name, (time.time() - 60 * minutes,) * 2)
    pins = {"sources": [{"files": [{"path": str(spool / "0123456789abcdef.jsonl")}]}]}
    place.runs.point("tiny", "prepare", "prepare/it-12345678", pins)
    lock = Lock(place.artifact("train/kept-12345678").path, ["twinctl", "train"])
    lock.acquire(wait=False)
    assert "stdin/" not in cli("clean", "--dry-run").ok().out
    lock.release()
    shown = cli("clean").ok().out
    assert shown.count("was piped in, and no run is prepared from it") == 2
    assert sorted(path.name for path in spool.iterdir()) == ["0123456789abcdef.jsonl", "new.txt"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_document(cli: Cli, place: Workspace, dry_run: bool) -> None:
    document = cli("clean", "--json", *(["--dry-run"] if dry_run else [])).ok().document
    path = ".twinctl/artifacts/train/old-12345678"
    assert document == {
        "schema": 1,
        "command": "clean",
        "dry_run": dry_run,
        "freed_bytes": 2048,
        "removed": [{"path": path, "bytes": 2048, "reason": "no run points to it"}],
        "kept": [],
    }
    assert Path(path).exists() is dry_run


def test_what_is_in_use_stays_and_is_said(cli: Cli, place: Workspace) -> None:
    lock = Lock(place.artifact("train/old-12345678").path, ["train", "--rank", "8"])
    lock.acquire(wait=False)
    shown = cli("clean").ok()
    assert shown.out == "nothing to clean in .twinctl\n"
    assert f"old-12345678: in use by process {os.getpid()}" in shown.err
    (kept,) = cli("clean", "--json").ok().document["kept"]
    assert kept["path"] == ".twinctl/artifacts/train/old-12345678"
    assert "twinctl train --rank 8" in kept["reason"]
    lock.release()
    assert cli("clean", "--quiet").ok().err == ""
    assert not place.artifact("train/old-12345678").path.exists()


def test_damage_stops_it_with_the_mend(cli: Cli, place: Workspace) -> None:
    (place.root / "runs" / "other.json").write_text("{")
    shown = cli("clean")
    assert (shown.code, shown.out) == (4, "")
    assert "other.json is damaged" in shown.err
    assert cli("clean", "--json").document["error"]["code"] == "UpstreamError"
    assert place.artifact("train/old-12345678").path.exists()


def test_what_may_not_be_deleted_is_named(cli: Cli, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        shown = cli("clean")
    assert shown.code == 3
    assert "old-12345678" in shown.err
    assert "Permission denied" in shown.err
    assert not place.artifact("train/old-12345678").path.exists()
    assert "left by an interrupted clean" in cli("clean").ok().out


def test_runs_rm_then_clean_frees_what_the_run_had_made(cli: Cli, prepare: list[str]) -> None:
    for name in ("short", "long"):
        cli(*prepare, "--run", name, "--max-length", "200" if name == "short" else "256").ok()
    short, long = (cli("path", "tokens", "--run", name).ok().out.strip() for name in ("short", "long"))
    assert cli("clean", "--json").ok().document["removed"] == []
    cli("runs", "rm", "short").ok()
    assert Path(short).exists()
    (removed,) = cli("clean", "--json").ok().document["removed"]
    assert Path(removed["path"]).resolve() == Path(short).parent
    assert not Path(short).exists()
    assert cli("path", "tokens").ok().out.strip() == long
    assert cli(*prepare, "--run", "short", "--max-length", "200", "--json").ok().document["cached"] is False
