"""A Hugging Face Hub on loopback: as much of the real one as the real clients ask for.

Repos are lists of commits, a commit is a dict of path → bytes. Everything the clients send is recorded, and faults are
switched on by setting attributes while it runs. Large files are handed out by another hostname, as on the real Hub,
which must never see a token. A route is a row of ROUTES: endpoints are added there; those that write are in writing.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.http_server import HttpServer

LFS_SUFFIXES = (".safetensors", ".gguf", ".parquet")


class Pointer(NamedTuple):
    """A large file of which the Hub knows sha256 and size, its bytes being in the Xet store."""

    oid: str
    size: int


Content = bytes | Pointer


@dataclass
class Repo:
    """A repo and its history, and who may see it."""

    kind: str
    name: str
    commits: dict[str, dict[str, Content]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    """Tokens that a private or gated repo lets in."""
    writers: set[str] = field(default_factory=set)
    """Tokens that may change it."""
    card: dict[str, Any] = field(default_factory=dict)
    """Its card's metadata."""
    messages: list[str] = field(default_factory=list)
    """Those of the commits that were pushed."""

    def commit(self, files: Mapping[str, Content], branch: str = "main") -> str:
        """Add a commit with exactly these files; gives its sha."""
        tree = "".join(f"{path}\0{sha256(content)}\n" for path, content in sorted(files.items()))
        parent = self.refs.get(branch, "")
        sha = hashlib.sha1(f"{self.kind}/{self.name}\n{parent}\n{tree}".encode()).hexdigest()
        self.commits[sha], self.refs[branch] = dict(files), sha
        return sha

    def resolve(self, revision: str) -> str:
        """The commit of a branch or commit name."""
        sha = self.refs.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def files(self, revision: str) -> dict[str, Content]:
        """The files at a branch or commit."""
        return self.commits[self.resolve(revision)]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    host: str
    path: str
    authorization: str | None


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method to paths that match.

    `status` answers with it; `hang` never answers; `drop` cuts the connection after so many bytes of the body, or of
    the answer.
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: int | None = None
    words: str = "The stand-in was told to fail"


@dataclass(frozen=True)
class Account:
    """Whom a token stands for. `role`: read, write or fineGrained; `orgs`: name → role there."""

    name: str
    role: str = "write"
    orgs: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An error answer as the real Hub words it: a status, and a code and message in headers."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """The answer to send."""
        headers = {"X-Request-Id": "stand-in", "X-Error-Message": self.message}
        if self.code:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message}, self.status, headers)


class HubStandIn(HttpServer):
    """The server: `with HubStandIn() as hub:` runs it in a thread; `hub.add(...)` puts repos on it."""

    def __init__(self) -> None:
        super().__init__()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.store: dict[str, bytes] = {}
        """Large files that were uploaded, by sha256."""
        self.parts: dict[str, dict[int, bytes]] = {}
        self.chunk: int | None = None
        """Ask for larger files in parts of this size."""
        self.cas = ""
        """The folder of the Xet store; with none, and no `xet`, Xet cannot be used."""
        self.xet: xet_store.XetStore | None = None
        """The Xet store over HTTP, which only takes files."""
        self.xet_hashes: dict[str, str] = {}
        """sha256 → Xet hash: what the real Hub knows from the Xet store."""
        self.status: int | None = None
        """Answer everything with this status, such as 503."""
        self.portal = False
        """Answer everything with a web page, as a network that wants a login does."""
        self.hang = False
        """Take requests and never answer."""

    def add(self, kind: str, name: str, files: Mapping[str, bytes], **rights: Any) -> str:
        """Put a repo on the Hub with one commit on main; gives the commit's sha."""
        repo = self.repos[kind, name] = Repo(kind, name, **rights)
        return repo.commit(files)

    def account(self, token: str, name: str, role: str = "write", **orgs: str) -> str:
        """Let a token stand for somebody; gives the token."""
        self.tokens.add(token)
        self.accounts[token] = Account(name, role, orgs)
        return token

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.port}"

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refusal as refusal:
            response = refusal.response()
        except ConnectionAbortedError:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        host = request.url.hostname or ""
        self.seen.append(Seen(request.method, host, path, request.headers.get("authorization")))
        while self.hang and not self._server.should_exit:
            await asyncio.sleep(0.05)
        if self.portal:
            return Response("<html>Log in</html>", media_type="text/html")
        if self.status:
            raise Refusal(self.status, "", "The stand-in was told to fail")
        if fault := self._fault(request, path):
            return await self._fail(request, fault)
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == ("GET" if request.method == "HEAD" else request.method):
                return await handler(self, request, **{k: unquote(v or "") for k, v in match.groupdict().items()})
        raise Refusal(404, "", f"The stand-in has no {request.method} {path}")

    def _fault(self, request: Request, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and request.method == fault.method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    async def _fail(self, request: Request, fault: Fault) -> Response:
        while fault.hang and not self._server.should_exit:
            await asyncio.sleep(0.05)
        if fault.drop is not None:
            return await self._cut(request, fault.drop)
        refusal = Refusal(fault.status or 500, "", fault.words).response()
        refusal.headers.update(fault.headers)
        return refusal

    async def _cut(self, request: Request, after: int) -> Response:
        """Break off: when so much of the body has come or, of a download, when so much has been sent."""
        connection = request.receive.__self__  # type: ignore[attr-defined]
        if request.method == "GET":
            digest = request.url.path.rpartition("/")[2]
            data = next(data for data in self.blobs() if sha256(data) == digest)
            size = [(b"content-length", str(len(data)).encode())]
            await connection.send({"type": "http.response.start", "status": 200, "headers": size})
            await connection.send({"type": "http.response.body", "body": data[:after], "more_body": True})
        else:
            got = 0
            async for piece in request.stream():
                got += len(piece)
                if got >= after:
                    break
        connection.transport.close() if request.method == "GET" else connection.transport.abort()
        raise ConnectionAbortedError

    def blobs(self) -> list[bytes]:
        """Every file that is here with its bytes."""
        committed = [data for repo in self.repos.values() for files in repo.commits.values() for data in files.values()]
        return [*self.store.values(), *(data for data in committed if isinstance(data, bytes))]

    def repo(self, request: Request, kind: str, name: str, *, contents: bool = False) -> Repo:
        """The repo that is asked for, if the one who asks may see it (or, with `contents`, read its files)."""
        token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        repo = self.repos.get((kind, name))
        if repo is None or (repo.private and token not in repo.readers):
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if contents and repo.gated and token not in repo.readers:
            raise Refusal(403 if token else 401, "GatedRepo", f"Access to {kind} {name} is restricted")
        return repo


async def info(hub: HubStandIn, request: Request, kind: str, name: str, rev: str = "") -> Response:
    """What the Hub tells everybody about a repo, also a gated one."""
    repo = hub.repo(request, kind, name)
    sha = repo.resolve(rev or "main")
    blobs = "blobs" in request.query_params
    siblings = [{"rfilename": path, **(_blob(path, data) if blobs else {})} for path, data in repo.files(sha).items()]
    document = {"_id": "0" * 24, "id": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []}
    access = {"gated": "manual" if repo.gated else False, "disabled": False}
    return JSONResponse({**document, **access, **({"cardData": repo.card} if repo.card else {})})


async def auth_check(hub: HubStandIn, request: Request, kind: str, name: str) -> Response:
    """May this token read the files?"""
    hub.repo(request, kind, name, contents=True)
    return JSONResponse({})


async def refs(hub: HubStandIn, request: Request, kind: str, name: str) -> Response:
    """The branches."""
    branches = hub.repo(request, kind, name).refs.items()
    listed = [{"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha} for branch, sha in branches]
    return JSONResponse({"branches": listed, "tags": [], "converts": []})


async def tree(hub: HubStandIn, request: Request, kind: str, name: str, rev: str, path: str = "") -> Response:
    """The files and folders under a path."""
    files = hub.repo(request, kind, name, contents=True).files(rev)
    prefix = f"{path}/" if path else ""
    inside = {name: data for name, data in files.items() if name.startswith(prefix)}
    if path and not inside:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist")
    if request.query_params.get("recursive", "").lower() == "true":
        names, folders = list(inside), set[str]()
    else:
        names = [name for name in inside if "/" not in name.removeprefix(prefix)]
        folders = {prefix + name.removeprefix(prefix).split("/")[0] for name in inside if name not in names}
    return JSONResponse([_folder(name) for name in sorted(folders)] + [_entry(name, files[name]) for name in names])


async def paths_info(hub: HubStandIn, request: Request, kind: str, name: str, rev: str) -> Response:
    """What certain paths are; unknown ones are left out."""
    files = hub.repo(request, kind, name, contents=True).files(rev)
    asked = [str(path) for path in (await request.form()).getlist("paths")]
    entries = [_entry(path, files[path]) for path in asked if path in files]
    entries += [_folder(path) for path in asked if any(name.startswith(f"{path}/") for name in files)]
    return JSONResponse(entries)


async def resolve(hub: HubStandIn, request: Request, name: str, rev: str, path: str, kind: str = "") -> Response:
    """A file: small ones at once, large ones from the blob host."""
    repo = hub.repo(request, kind.rstrip("/") or "models", name, contents=True)
    sha, files = repo.resolve(rev), repo.files(rev)
    commit = {"X-Repo-Commit": sha}
    if path not in files:
        refusal = Refusal(404, "EntryNotFound", f"{path} does not exist").response()
        refusal.headers.update(commit)
        return refusal
    content = files[path]
    if isinstance(content, bytes) and not _is_lfs(path, content):
        return Response(content, headers={**commit, "ETag": f'"{git_blob(content)}"'})
    digest, size = sha256(content), content.size if isinstance(content, Pointer) else len(content)
    linked = {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{digest}"'}
    if digest in hub.xet_hashes:
        linked["X-Xet-Hash"] = hub.xet_hashes[digest]
        linked["X-Xet-Refresh-Route"] = f"{hub.url}/api/models/{name}/xet-read-token/{sha}"
    return Response(
        status_code=302, headers={**commit, **linked, "Location": f"http://localhost:{hub.port}/blob/{digest}"}
    )


async def blob(hub: HubStandIn, request: Request, digest: str) -> Response:
    """A large file's bytes, by digest."""
    for content in hub.blobs():
        if sha256(content) == digest:
            return Response(content, headers={"ETag": f'"{digest}"'})
    raise Refusal(404, "", "No such blob")


Handler = Callable[..., Awaitable[Response]]
_REPO = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", _REPO, info),
    ("GET", _REPO + r"/revision/(?P<rev>[^/]+)", info),
    ("GET", _REPO + r"/auth-check", auth_check),
    ("GET", _REPO + r"/refs", refs),
    ("GET", _REPO + r"/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?", tree),
    ("POST", _REPO + r"/paths-info/(?P<rev>[^/]+)", paths_info),
    ("GET", r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", resolve),
    ("GET", r"/blob/(?P<digest>[0-9a-f]{64})", blob),
]


def _blob(path: str, content: Content) -> dict[str, Any]:
    """A file as a repo's siblings describe it."""
    described: dict[str, Any] = {"size": _size(content), "blobId": git_blob(content)}
    if _is_lfs(path, content):
        described["lfs"] = {"sha256": sha256(content), "size": _size(content), "pointerSize": 130}
    return described


def _entry(path: str, content: Content) -> dict[str, Any]:
    """A file as a tree describes it."""
    described: dict[str, Any] = {"type": "file", "path": path, "size": _size(content), "oid": git_blob(content)}
    if _is_lfs(path, content):
        described["lfs"] = {"oid": sha256(content), "size": _size(content), "pointerSize": 130}
    return described


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


def _is_lfs(path: str, content: Content) -> bool:
    return isinstance(content, Pointer) or (bool(content) and is_lfs_name(path))


def is_lfs_name(path: str) -> bool:
    """Whether the Hub keeps a file of that name outside git."""
    return path.endswith(LFS_SUFFIXES) or path.rpartition("/")[2] == "tokenizer.json"


def _size(content: Content) -> int:
    return content.size if isinstance(content, Pointer) else len(content)


def sha256(content: Content) -> str:
    """The digest of a file."""
    return content.oid if isinstance(content, Pointer) else hashlib.sha256(content).hexdigest()


def git_blob(content: Content) -> str:
    """Git's name for a file; for a large one, as on the real Hub, another than that of its bytes."""
    data = f"pointer {content.oid}".encode() if isinstance(content, Pointer) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a JSON Lines file."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


from tests.support import hub_writing, xet_store  # noqa: E402

ROUTES += hub_writing.ROUTES + xet_store.ROUTES
