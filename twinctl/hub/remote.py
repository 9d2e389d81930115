"""What is on the Hub before and after a push, and whether one may write to it.

What must stay true: nothing here changes anything on the Hub; whatever would stop a push is found before the first
byte of a file is sent; a remote file is compared by size and digest, never by name or date alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from twinctl.errors import HubError
from twinctl.hub.client import SECONDS, api, offline, progress_hidden
from twinctl.hub.failures import Target, hub_errors, settings_page

Change = Literal["new", "changed", "same", "gone"]
LARGE = 2**24  # above this, and below it for some names, the Hub knows a file by its sha256
_MAY_WRITE = ("admin", "write", "contributor")


@dataclass(frozen=True)
class RemoteFile:
    """A file on the Hub: of a large one its sha256, of a small one git's name for its content."""

    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class RemoteRepo:
    """A repo at a revision. `sha` is None where the repo, or the branch, is not there yet."""

    repo: str
    revision: str | None
    exists: bool = False
    private: bool = True
    sha: str | None = None
    has_branch: bool = True
    files: Mapping[str, RemoteFile] = field(default_factory=dict)

    def has(self, name: str, file: LocalFile) -> bool:
        """Whether the file of this name is there with the same bytes."""
        remote = self.files.get(name)
        if remote is None or remote.size != file.size:
            return False
        return remote.sha256 == file.sha256 if remote.sha256 else remote.blob == file.blob


@dataclass(frozen=True)
class LocalFile:
    """A file to be sent, and its digests as the Hub counts them."""

    size: int
    sha256: str
    blob: str

    @classmethod
    def of(cls, content: Path | bytes, sha256: str = "") -> LocalFile:
        """Of bytes, or of a file whose sha256 has just been checked. The Hub keeps large files by sha256 alone."""
        if isinstance(content, Path):
            size = content.stat().st_size
            if size > LARGE:
                return cls(size, sha256, "")
            content = content.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return cls(len(content), hashlib.sha256(content).hexdigest(), blob)


def has_token() -> bool:
    """Whether there is a token to ask with: of the environment, of .env, or one that `hf auth login` stored."""
    import huggingface_hub

    return bool(huggingface_hub.get_token())


def _require_writer(repo: str) -> None:
    """Raise HubError unless the token may write and the namespace is its account's or that of an organisation of it."""
    target = Target("model", repo, errand="push")
    new_token = (
        f"Make one with write access at {settings_page('tokens')} and set HF_TOKEN in the environment or in .env."
    )
    if offline():
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be sent.", "Unset it, then type the same command again.")
    if not has_token():
        raise HubError("There is no token to write with.", new_token)
    with hub_errors(target):
        account = api().whoami()
    if ((account.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise HubError(f"The token of {account['name']} may only read.", new_token)
    _require_namespace(repo, account)


def unreachable_reason() -> str | None:
    """Why the Hub cannot be asked about a push; None where it can."""
    if offline():
        return "HF_HUB_OFFLINE is set"
    return None if has_token() else "there is no token"


def check_push(repo: str, revision: str | None, *, public: bool) -> RemoteRepo:
    """Everything that could stop a push, and what is there. Raises HubError."""
    _require_writer(repo)
    remote = read_remote(repo, revision)
    require_visibility(remote, public=public)
    if remote.exists:  # whether the token may write to this very repo
        with hub_errors(Target("model", repo, errand="push")):
            api().auth_check(repo, repo_type="model", write=True)
    return remote


def _require_namespace(repo: str, account: Mapping[str, Any]) -> None:
    owner, _, name = repo.partition("/")
    orgs = {str(org["name"]): str(org.get("roleInOrg") or "write") for org in account.get("orgs") or ()}
    mine = [str(account["name"]), *(org for org, role in orgs.items() if role in _MAY_WRITE)]
    if owner in mine:
        return
    if owner in orgs:
        message = f"{account['name']} may only read in the organisation {owner}."
    else:
        message = f"{owner} is not {account['name']}, nor an organisation of theirs."
    raise HubError(
        message, f"Push to {mine[0]}/{name}" + (f", or to one of {', '.join(mine[1:])}." if mine[1:] else ".")
    )


def read_remote(repo: str, revision: str | None, *, errand: Literal["push", "pull"] = "push") -> RemoteRepo:
    """What the repo holds at the revision now; one that is not there yet is no failure. Raises HubError."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    target = Target("model", repo, revision, errand)
    with hub_errors(target):
        try:
            info = api().model_info(repo, revision=revision, files_metadata=True, timeout=SECONDS)
            has_branch = True
        except RevisionNotFoundError:
            info = api().model_info(repo, files_metadata=True, timeout=SECONDS)
            has_branch = False
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401 and has_token():
                raise
            return RemoteRepo(repo, revision)
    files = {
        item.rfilename: RemoteFile(item.size or 0, item.lfs.sha256 if item.lfs else None, item.blob_id)
        for item in info.siblings or ()
    }
    return RemoteRepo(repo, revision, True, bool(info.private), str(info.sha), has_branch, files)


def require_visibility(remote: RemoteRepo, *, public: bool) -> None:
    """Raise HubError where the repo is there and shown to others than was asked: nothing makes one public by itself."""
    if not remote.exists or remote.private is not public:
        return
    if public:
        raise HubError(
            f"{remote.repo} is there and private, and --public was given.",
            f"Make it public at {settings_page('', remote.repo)}, or leave out --public.",
        )
    raise HubError(
        f"{remote.repo} is there and public: everybody could read this twin.",
        "If that is meant: --public. Else push to another name.",
    )


def planned_changes(
    local: Mapping[str, LocalFile], remote: RemoteRepo, ours: Mapping[str, LocalFile]
) -> dict[str, Change]:
    """What a push would do to each file. `ours`: what an earlier push put there; what of it is not sent any more and is
    still as it was goes. Whatever else is in the repo stays.
    """
    changes: dict[str, Change] = {}
    for name, file in local.items():
        changes[name] = "same" if remote.has(name, file) else "changed" if name in remote.files else "new"
    for name, file in ours.items():
        if name not in local and remote.has(name, file):
            changes[name] = "gone"
    return changes


def small_file(remote: RemoteRepo, name: str) -> bytes | None:
    """A small file's bytes as they are on the Hub; None where there is none. Raises HubError."""
    if name not in remote.files or remote.files[name].size > 2**22:
        return None
    with progress_hidden(), hub_errors(Target("model", remote.repo, remote.sha)):
        return Path(api().hf_hub_download(remote.repo, name, revision=remote.sha)).read_bytes()
