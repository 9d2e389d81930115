"""A Hub and a Comet with accounts, and the findings of `twinctl doctor`."""

from __future__ import annotations

import sys
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.comet_server import CometStandIn
from tests.support.commands import Done
from tests.support.hub_server import HubStandIn, Refusal

COMMAND = [sys.executable, "-m", "twinctl.cli.app", "doctor"]
TOKEN, KEY = "hf_PlantedForTheDoctor01", "CometPlantedForTheDoctor02"
NAMES = [
    *("python", "workspace", "disk", "model cache", "driver", "torch", "gpu", "kernel", "memory"),
    *("llama.cpp", "gguf", "hub", "hf token", "comet", "unsloth"),
]
GIB = 2**30


class HubWithTokens(HubStandIn):
    """A Hub that knows whose a token is, and its rights: `rights` is token → access token as the Hub describes it."""

    def __init__(self) -> None:
        super().__init__()
        self.rights: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        """The tokens that were asked about."""

    async def _answer(self, request: Request) -> Response:
        if self.hang or self.portal or self.status or not request.url.path.endswith("/whoami-v2"):
            return await super()._answer(request)
        token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        self.asked.append(token)
        if token not in self.rights:
            raise Refusal(401, "", "Invalid username or password.")
        access = {"displayName": "twin", **self.rights[token]}
        return JSONResponse({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": access}})


class CometWithAccount(CometStandIn):
    """A Comet that looks at the key where the client asks for its account."""

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        key = dict(scope["headers"]).get(b"authorization", b"").decode()
        if self.hang or not scope["path"].endswith("/account-details"):
            await super()._app(scope, receive, send)
        elif key == self.key:
            await JSONResponse({"userName": "me", "defaultWorkspaceName": "mine"})(scope, receive, send)
        else:
            await JSONResponse({"msg": f"no such key {key}"}, 401)(scope, receive, send)


def finding(done: Done, name: str) -> dict[str, str]:
    """A check's finding in the document."""
    (found,) = [check for check in done.document["checks"] if check["name"] == name]
    return dict(found)
