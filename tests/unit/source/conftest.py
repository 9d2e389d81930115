"""A working folder, a Hub that has everything, and short ways to name sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sources import SHA
from twinctl import hub


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test."""
    """The working directory of the test."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def asked_datasets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A Hub that has every data set at one commit; what it was asked for."""
    calls: list[tuple[str, str | None]] = []

    def resolve_dataset(repo: str, revision: str | None = None) -> str:
        calls.append((repo, revision))
        return SHA

    monkeypatch.setattr(hub, "resolve_dataset", resolve_dataset)
    return calls
