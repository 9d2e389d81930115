"""A small workspace whose records are written by hand: prepared, trained, merged, and two GGUF files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.written_records import DATA_SHA, HUB_CARDS, SHA, RecordedRun
from twinctl.pipeline.base_checkpoint import BUNDLED, BaseCheckpoint
from twinctl.publishing import licences


@pytest.fixture(autouse=True)
def hub_cards(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the Hub's cards say, by repository."""
    cards = {name: dict(card) for name, card in HUB_CARDS.items()}

    def told(kind: str, repo: str, sha: str | None) -> dict[str, Any]:
        assert sha in (SHA, DATA_SHA), "a card is read at the commit that was used"
        return cards.get(repo, {})

    monkeypatch.setattr(licences, "card_data", told)
    monkeypatch.setattr("twinctl.publishing.data_sources.card_data", told)
    return cards


@pytest.fixture
def recorded_run(tmp_path: Path) -> RecordedRun:
    """An adapter on Llama 3.1, merged, and two GGUF files, in run “me”."""
    return RecordedRun(tmp_path / "workspace")


@pytest.fixture
def bundled(recorded_run: RecordedRun) -> RecordedRun:
    """The same on the bundled base."""
    recorded_run.base = BaseCheckpoint(BUNDLED, files={"model.safetensors": "c" * 64})
    return recorded_run


@pytest.fixture
def local_base(tmp_path: Path) -> Callable[[str, str | None], BaseCheckpoint]:
    """A base in a folder of a name, with a model card or none."""

    def made(name: str, card: str | None = None) -> BaseCheckpoint:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        if card is not None:
            (folder / "README.md").write_text(card, encoding="utf-8")
        return BaseCheckpoint(str(folder), path=str(folder), files={"model.safetensors": "c" * 64})

    return made
