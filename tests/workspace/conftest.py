from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.toy_phase import Toy
from twinctl.workspace.workspace import Workspace


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace that is made already."""
    workspace = Workspace.open(tmp_path / "workspace")
    workspace.create()
    return workspace
