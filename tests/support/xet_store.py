"""The Xet store that large files go to on the real Hub: as much of it as the real client asks for to upload.

It lives on the blob host, knows its own short-lived tokens and no others, and takes xorbs (pieces of files) and shards
(which say how files are made of them). A xorb goes to a signed address that the store grants for it, or, where that
cannot be, to the store itself: this is how hf_xet 1.8 was seen to speak.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support import hub_server as stand_in

if TYPE_CHECKING:
    from tests.support.hub_server import Handler, HubStandIn


@dataclass
class XetStore:
    """What was uploaded, and the tokens that it gave out."""

    xorbs: dict[str, bytes] = field(default_factory=dict)
    shards: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    lives: float = 3600
    """For how many seconds a new token is good."""

    def token(self, url: str) -> dict[str, Any]:
        """A new token, and where to go with it."""
        self.tokens.append(f"xet-{len(self.tokens) + 1}")
        return {"casUrl": url, "accessToken": self.tokens[-1], "exp": int(time.time() + self.lives)}

    def has(self, oid: str) -> bool:
        """Whether a file of that sha256 is in a shard, which keeps digests as four little-endian words."""
        digest = bytes.fromhex(oid)
        words = b"".join(digest[start : start + 8][::-1] for start in range(0, 32, 8))
        return any(words in shard for shard in self.shards)


def _store(hub: HubStandIn, request: Request) -> XetStore:
    """The store, if the one who asks has one of its tokens."""
    store = hub.xet
    if store is None:
        raise stand_in.Refusal(404, "", "No Xet here")
    if (request.headers.get("authorization") or "").removeprefix("Bearer ") not in store.tokens:
        raise stand_in.Refusal(401, "", "Not a token of the store")
    return store


async def known_chunk(hub: HubStandIn, request: Request) -> Response:
    """Nothing is known from anybody else's files."""
    _store(hub, request)
    raise stand_in.Refusal(404, "", "No such chunk")


async def grant(hub: HubStandIn, request: Request, digest: str) -> Response:
    """Where to put a xorb, unless it is here."""
    if digest in _store(hub, request).xorbs:
        return JSONResponse({"was_inserted": False})
    place = f"http://localhost:{hub.port}/xorb/{digest}?signature=secret"
    return JSONResponse({"id": "g1", "method": "PUT", "url": place, "headers": {}}, 201)


async def put_granted(hub: HubStandIn, request: Request, digest: str) -> Response:
    """The blob host takes a xorb."""
    assert hub.xet is not None
    hub.xet.xorbs[digest] = await request.body()
    return Response()


async def end_grant(hub: HubStandIn, request: Request, digest: str) -> Response:
    """The xorb is there."""
    if digest not in _store(hub, request).xorbs:
        raise stand_in.Refusal(400, "", "Not uploaded")
    return JSONResponse({"was_inserted": True})


async def put_xorb(hub: HubStandIn, request: Request, digest: str) -> Response:
    """The store takes a xorb itself."""
    store = _store(hub, request)
    is_new = digest not in store.xorbs
    store.xorbs[digest] = await request.body()
    return JSONResponse({"was_inserted": is_new})


async def put_shard(hub: HubStandIn, request: Request) -> Response:
    """Take a shard."""
    _store(hub, request).shards.append(await request.body())
    return Response('{"type":"result"}\n')


_XORB = r"default/(?P<digest>[0-9a-f]{64})"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", r"/xet/v1/chunks/.+", known_chunk),
    ("POST", r"/xet/v1/xorb-grants/" + _XORB, grant),
    ("PUT", r"/xorb/(?P<digest>[0-9a-f]{64})", put_granted),
    ("POST", r"/xet/v1/xorb-commits/" + _XORB + "/grant/g1", end_grant),
    ("POST", r"/xet/v1/xorbs/" + _XORB, put_xorb),
    ("POST", "/xet/v2/shards", put_shard),
]
