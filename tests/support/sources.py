"""Short ways to name sources of rows and to read them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from twinctl.config.prepare import DataSource
from twinctl.data.source import Role, Source, read_rows, resolve_sources
from twinctl.workspace.memo import DigestMemo

ROW = b'{"instruction": "a", "output": "b"}\n'
SHA, OTHER = "1" * 40, "2" * 40


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
