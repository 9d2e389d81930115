"""`twinctl doctor`, with a Hub, a Comet and libraries that do as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import KEY, CometWithAccount, HubWithTokens
from twinctl.doctor import examine, probe


@pytest.fixture
def hub_with_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubWithTokens]:
    import huggingface_hub.constants  # noqa: F401 - in this process it stays offline, for the tests after these

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with HubWithTokens() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def comet_with_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[CometWithAccount]:
    with CometWithAccount(KEY) as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        yield server


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave out all probes but one, whose time may be another."""

    def choose(*groups: str, seconds: float | None = None) -> None:
        left = {group: probe.PROBES[group] for group in groups}
        if seconds:
            left = {group: replace(each, seconds=seconds) for group, each in left.items()}
        monkeypatch.setattr(examine, "PROBES", left)

    return choose


@pytest.fixture
def library(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a library of this code before the real one."""

    def broken(name: str, code: str) -> None:
        folder = home.parent / f"{home.name}-libraries"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return broken
