"""The Hub stand-in's endpoints that write: accounts, repos, uploads by LFS and by Xet, commits, pull requests."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support import hub_server as stand_in

if TYPE_CHECKING:
    from tests.support.hub_server import Content, Handler, HubStandIn, Repo

WHEN = "2026-11-01T00:00:00.000Z"


def _account(hub: HubStandIn, request: Request) -> stand_in.Account:
    token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
    if token not in hub.accounts:
        raise stand_in.Refusal(401, "", "Invalid username or password.")
    return hub.accounts[token]


def writable(hub: HubStandIn, request: Request, kind: str, name: str) -> Repo:
    """The repo, if the one who asks may change it."""
    repo = hub.repo(request, kind, name)
    account = _account(hub, request)
    token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
    owner = name.partition("/")[0]
    mine = owner == account.name or account.orgs.get(owner) in ("admin", "write", "contributor")
    if account.role == "read" or not (mine or token in repo.writers):
        raise stand_in.Refusal(403, "", "Forbidden: you must use a write token to upload to a repository.")
    return repo


async def whoami(hub: HubStandIn, request: Request) -> Response:
    """Whose token it is, and what it may do."""
    account = _account(hub, request)
    orgs = [{"name": name, "type": "org", "roleInOrg": role} for name, role in account.orgs.items()]
    token = {"displayName": "t", "role": account.role, "createdAt": WHEN}
    about = {"type": "user", "name": account.name, "fullname": account.name, "email": f"{account.name}@example.com"}
    return JSONResponse({**about, "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}})


async def create(hub: HubStandIn, request: Request) -> Response:
    """A new repo with its .gitattributes, as the real one has; one that is there already is a conflict."""
    asked = await request.json()
    account = _account(hub, request)
    name = f"{asked.get('organization') or account.name}/{asked['name']}"
    kind, url = f"{asked.get('type', 'model')}s", f"{hub.url}/{name}"
    if (kind, name) in hub.repos:
        return JSONResponse({"error": "You already created this model repo", "url": url}, 409)
    if account.role == "read" or name.partition("/")[0] not in (account.name, *account.orgs):
        raise stand_in.Refusal(403, "", "Forbidden")
    private = asked.get("visibility") == "private"
    token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
    hub.add(kind, name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private, readers={token})
    return JSONResponse({"url": url, "id": name})


async def may_write(hub: HubStandIn, request: Request, kind: str, name: str) -> Response:
    """May this token change it?"""
    writable(hub, request, kind, name)
    return JSONResponse({})


async def validate_yaml(hub: HubStandIn, request: Request) -> Response:
    """Every card's head is fine but one that says it is not."""
    content = (await request.json())["content"]
    errors = [{"message": "bad metadata"}] if "license: none-such" in content else []
    return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)


async def branch(hub: HubStandIn, request: Request, kind: str, name: str, rev: str) -> Response:
    """A new branch, from main."""
    repo = writable(hub, request, kind, name)
    if rev in repo.refs:
        raise stand_in.Refusal(409, "", "Reference already exists")
    repo.refs[rev] = repo.resolve("main")
    return JSONResponse({})


async def preupload(hub: HubStandIn, request: Request, kind: str, name: str, rev: str) -> Response:
    """How each file is to be sent, and what the Hub has under its name."""
    files = writable(hub, request, kind, name).files(rev)
    answer = []
    for asked in (await request.json())["files"]:
        lfs = asked["size"] > 0 and stand_in.is_lfs_name(asked["path"])
        there = files.get(asked["path"])
        known = {} if there is None else {"oid": stand_in.sha256(there) if lfs else stand_in.git_blob(there)}
        mode = "lfs" if lfs else "regular"
        answer.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **known})
    return JSONResponse({"files": answer})


async def batch(hub: HubStandIn, request: Request, name: str) -> Response:
    """Where to put the large files that are not stored yet."""
    writable(hub, request, "models", name)
    return JSONResponse(
        {"transfer": "multipart", "objects": [_action(hub, name, item) for item in (await request.json())["objects"]]}
    )


def _action(hub: HubStandIn, name: str, item: dict[str, Any]) -> dict[str, Any]:
    oid, size = item["oid"], item["size"]
    if oid in hub.store:
        return {"oid": oid, "size": size}
    place = f"http://localhost:{hub.port}/put/{oid}"
    verify = {"href": f"{hub.url}/{name}.git/info/lfs/verify"}
    if hub.chunk is None or size <= hub.chunk:
        return {"oid": oid, "size": size, "actions": {"upload": {"href": place}, "verify": verify}}
    count = -(-size // hub.chunk)
    parts = {str(number): f"{place}/{number}" for number in range(1, count + 1)}
    upload = {"href": f"{place}/complete", "header": {"chunk_size": str(hub.chunk), **parts}}
    return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}


async def verify(hub: HubStandIn, request: Request, name: str) -> Response:
    """Did the file arrive?"""
    asked = await request.json()
    if len(hub.store.get(asked["oid"], b"")) != asked["size"]:
        raise stand_in.Refusal(400, "", "Not uploaded")
    return JSONResponse({})


async def put(hub: HubStandIn, request: Request, digest: str) -> Response:
    """The blob host takes a whole file."""
    data = await request.body()
    if hashlib.sha256(data).hexdigest() != digest:
        raise stand_in.Refusal(400, "", "Bad digest")
    hub.store[digest] = data
    return Response()


async def put_part(hub: HubStandIn, request: Request, digest: str, number: str) -> Response:
    """The blob host takes a part."""
    hub.parts.setdefault(digest, {})[int(number)] = await request.body()
    return Response(headers={"ETag": f'"part-{number}"'})


async def complete(hub: HubStandIn, request: Request, digest: str) -> Response:
    """The parts are a file."""
    wanted = [part["partNumber"] for part in (await request.json())["parts"]]
    parts = hub.parts.pop(digest)
    data = b"".join(parts[number] for number in wanted)
    if hashlib.sha256(data).hexdigest() != digest:
        raise stand_in.Refusal(400, "", "Bad digest")
    hub.store[digest] = data
    return JSONResponse({})


async def xet_token(hub: HubStandIn, request: Request, kind: str, name: str, may: str, rev: str) -> Response:
    """The way to the Xet store: a folder, which the real client's own file store serves, or one over HTTP."""
    if not hub.cas and hub.xet is None:
        raise stand_in.Refusal(404, "", "No Xet here")
    if may == "write":
        writable(hub, request, kind, name)
    info = {"casUrl": f"local://{hub.cas}", "accessToken": "xet", "exp": int(time.time()) + 3600}
    if hub.xet is not None:
        info = hub.xet.token(f"http://localhost:{hub.port}/xet")
    headers = {"X-Xet-Cas-Url": info["casUrl"], "X-Xet-Access-Token": info["accessToken"]}
    return JSONResponse(info, headers={**headers, "X-Xet-Token-Expiration": str(info["exp"])})


async def commit(hub: HubStandIn, request: Request, kind: str, name: str, rev: str) -> Response:
    """All of it, or nothing: the large files that it names must have been uploaded."""
    repo = writable(hub, request, kind, name)
    files: dict[str, Content] = dict(repo.files(rev))
    for line in (await request.body()).splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "header":
            if value.get("parentCommit") not in (None, repo.resolve(rev)):
                raise stand_in.Refusal(412, "", "A commit has happened since.")
            repo.messages.append(value["summary"])
        elif item["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif item["key"] == "lfsFile":
            files[value["path"]] = _stored(hub, value)
        else:
            files.pop(value["path"], None)
    opened = {}
    if request.query_params.get("create_pr"):
        number = _next(repo)
        rev, opened = f"refs/pr/{number}", {"pullRequestUrl": f"{hub.url}/{name}/discussions/{number}"}
        repo.refs[rev] = repo.resolve("main")
    sha = repo.commit(files, rev)
    url = f"{hub.url}/{name}/commit/{sha}"
    return JSONResponse({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": "", **opened})


def _next(repo: Repo) -> int:
    return 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)


def _stored(hub: HubStandIn, value: dict[str, Any]) -> Content:
    if value["oid"] in hub.store:
        return hub.store[value["oid"]]
    if not (hub.xet.has(value["oid"]) if hub.xet is not None else hub.cas):
        raise stand_in.Refusal(400, "", "LFS pointer pointed to a file that does not exist")
    return stand_in.Pointer(value["oid"], value["size"])


async def open_request(hub: HubStandIn, request: Request, kind: str, name: str) -> Response:
    """A pull request: a ref of its own, from main."""
    repo = writable(hub, request, kind, name)
    number = _next(repo)
    repo.refs[f"refs/pr/{number}"] = repo.resolve("main")
    return JSONResponse({"num": number})


async def pull_request(hub: HubStandIn, request: Request, kind: str, name: str, number: str) -> Response:
    """What the client asks for as soon as it has opened one."""
    hub.repo(request, kind, name)
    about = {"title": "t", "num": int(number), "author": {"name": "me"}, "createdAt": WHEN, "status": "draft"}
    place = {"repo": {"name": name, "type": "model"}, "isPullRequest": True, "changes": {"base": "refs/heads/main"}}
    return JSONResponse({**about, **place, "filesWithConflicts": [], "events": [], "diff": ""})


_REPO = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_LFS = r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", _REPO + "/auth-check/write", may_write),
    ("POST", _REPO + r"/branch/(?P<rev>[^/]+)", branch),
    ("POST", _REPO + r"/preupload/(?P<rev>[^/]+)", preupload),
    ("POST", _REPO + r"/commit/(?P<rev>[^/]+)", commit),
    ("GET", _REPO + r"/xet-(?P<may>read|write)-token/(?P<rev>[^/]+)", xet_token),
    ("POST", _REPO + "/discussions", open_request),
    ("GET", _REPO + r"/discussions/(?P<number>\d+)", pull_request),
    ("POST", _LFS + "/objects/batch", batch),
    ("POST", _LFS + "/verify", verify),
    ("PUT", r"/put/(?P<digest>[0-9a-f]{64})", put),
    ("PUT", r"/put/(?P<digest>[0-9a-f]{64})/(?P<number>\d+)", put_part),
    ("POST", r"/put/(?P<digest>[0-9a-f]{64})/complete", complete),
]
