"""A working folder, a Hub that has everything, and short ways to name sources."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from twinctl import hub
from twinctl.config.prepare import DataSource
from twinctl.data.source import Role, Source, read_rows, resolve_sources
from twinctl.workspace.memo import DigestMemo

ROW = b'{"instruction": "a", "output": "b"}\n'
SHA, OTHER = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A Hub that has every data set at one commit; what it was asked for."""
    calls: list[tuple[str, str | None]] = []

    def resolve_dataset(repo: str, revision: str | None = None) -> str:
        calls.append((repo, revision))
        return SHA

    monkeypatch.setattr(hub, "resolve_dataset", resolve_dataset)
    return calls


def put_file(name: str, content: bytes = ROW) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def resolve(
    *wanted: str | dict[str, Any], role: Role = "author", pinned: Any = (), refresh: bool = False
) -> list[Source]:
    each = [DataSource(source=one) if isinstance(one, str) else DataSource.model_validate(one) for one in wanted]
    memo, spool = DigestMemo(Path("../digests.json")), Path("../stdin")
    return resolve_sources(each, role, memo, pinned, refresh=refresh, spool=spool)


def source_at(locator: str, **asked: Any) -> Source:
    (source,) = resolve({"source": locator, **asked})
    return source


def names_of(source: Source) -> list[str]:
    return [os.path.relpath(file.path) for file in source.files]


def places_of(source: Source) -> list[str]:
    return [place for place, _ in read_rows(source)]


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
