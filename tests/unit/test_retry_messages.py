"""The Xet client's waits are reported from its log; a log that says something else, or is gone, costs no transfer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from twinctl.hub.retry_messages import XetWaits

TRY = "Retryable upload api call failed (request, retry 1): HTTP status server error (503"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_XET_CACHE", tmp_path)
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / f"xet_20260101_{os.getpid()}.log"


def line(message: str) -> str:
    """As the client writes one."""
    return json.dumps({"fields": {"message": message}}) + "\n"


def test_only_what_is_new_is_reported_and_only_whole_lines(log: Path) -> None:
    log.write_text(line(TRY))
    said: list[str] = []
    waits = XetWaits(said.append)
    waits.tick()
    assert said == []
    with log.open("a") as file:
        file.write(line(TRY) + line(TRY.replace("503", "500"))[:80])
    waits.tick()
    assert said == ["the Hub's file store answered 503; trying again"]


def test_a_log_in_another_form_is_not_read(log: Path) -> None:
    said: list[str] = []
    waits = XetWaits(said.append)
    log.write_text(f'2026 WARN {TRY}\n[1]\n"text"\n{{"fields": [1]}}\n{{}}\n' + line(TRY))
    waits.tick()
    assert len(said) == 1


def test_a_log_that_goes_away_is_missed_by_nobody(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_text(line(TRY))
    said: list[str] = []
    waits = XetWaits(said.append)
    monkeypatch.setattr(XetWaits, "_log", lambda self: log.with_name("gone"))
    waits.tick()
    assert said == []


def test_a_log_that_falls_silent_is_reported_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    waits = XetWaits(said.append)
    log.write_text(line("Completed upload_xorb API"))
    waits.tick()
    assert said == []
    monkeypatch.setattr("twinctl.hub.retry_messages.SILENCE", 0.0)
    waits.tick()
    waits.tick()
    assert said == ["no word from the Hub's file store for 0 s; still waiting"]
