"""Fixtures: a Hub on loopback, and Python processes whose Hub it is.

HF_ENDPOINT and HF_HUB_OFFLINE are read when huggingface_hub is imported, so the code under test runs in a process of
its own, the test's process keeping the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub_client import TOKEN, Client
from tests.support.hub_server import HubStandIn
from tests.support.hub_twin import make_twin


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn() as server:
        yield server


@pytest.fixture(scope="session")
def made_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a twin: see twin.py."""
    return make_twin(tmp_path_factory.mktemp("twin"))


@pytest.fixture
def twin_client(made_twin: Path, client: Client, hub: HubStandIn) -> Client:
    """A client whose working directory has a copy of it, and whose token may write as `me` and in `my-org`."""
    shutil.copytree(made_twin, client.home, dirs_exist_ok=True)
    hub.account(TOKEN, "me", "write", **{"my-org": "write", "their-org": "read"})
    client.env |= {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    return client


@pytest.fixture
def client(hub: HubStandIn, tmp_path: Path) -> Client:
    root = str(Path(__file__).parents[2])
    return Client(tmp_path, {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": root})
