"""`twinctl doctor`, with a Hub, a Comet and libraries that do as a test says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.responses import JSONResponse

from cli.conftest import Done
from twinctl.doctor import examine, probe

TESTS = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "twinctl.cli.app", "doctor"]
TOKEN, KEY = "hf_PlantedForTheDoctor01", "CometPlantedForTheDoctor02"
NAMES = [
    *("python", "workspace", "disk", "model cache", "driver", "torch", "gpu", "kernel", "memory"),
    *("llama.cpp", "gguf", "hub", "hf token", "comet", "unsloth"),
]
GIB = 2**30


def stand_in(room: str) -> ModuleType:
    """Another room's stand-in."""
    return importlib.import_module(f"{room}.stand_in")


def hub_with_accounts() -> Any:
    """A Hub that knows whose a token is, and its rights; `accounts` is token → access token as the Hub describes it."""
    room = stand_in("hub")

    class Hub(room.HubStandIn):  # type: ignore[misc, name-defined]
        accounts: dict[str, dict[str, Any]]

        async def _answer(self, request: Any) -> Any:
            answer = self.hang or self.portal or self.status
            if answer or not request.url.path.endswith("/whoami-v2"):
                return await super()._answer(request)
            token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
            self.seen.append(token)
            if token not in self.accounts:
                raise room.Refusal(401, "", "Invalid username or password.")
            access = {"displayName": "twin", **self.accounts[token]}
            return JSONResponse({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": access}})

    made = Hub()
    made.accounts = {}
    return made


def comet_with_account() -> Any:
    """A Comet that looks at the key where the client asks for its account."""
    room = stand_in("tracking")

    class Comet(room.CometStandIn):  # type: ignore[misc, name-defined]
        async def _app(self, scope: Any, receive: Any, send: Any) -> None:
            key = dict(scope["headers"]).get(b"authorization", b"").decode()
            if self.hang or not scope["path"].endswith("/account-details"):
                await super()._app(scope, receive, send)
            elif key == self.key:
                await JSONResponse({"userName": "me", "defaultWorkspaceName": "mine"})(scope, receive, send)
            else:
                await JSONResponse({"msg": f"no such key {key}"}, 401)(scope, receive, send)

    return Comet(KEY)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    import huggingface_hub.constants  # noqa: F401 - in this process it stays offline, for the tests after these

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with hub_with_accounts() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with comet_with_account() as server:
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


def finding(done: Done, name: str) -> dict[str, str]:
    """A check's finding in the document."""
    (found,) = [check for check in done.document["checks"] if check["name"] == name]
    return dict(found)
