"""A folder sent to a repo in one commit, and read back.

What must stay true: what is in the folder is sent and nothing else; a repo that is made is private unless public was
asked for, and is looked at again before the first file goes; the commit is refused when the repo changed meanwhile;
what arrived is compared with what was sent, by size and digest.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from twinctl.errors import CheckFailed
from twinctl.hub.client import api, transfers
from twinctl.hub.failures import Target, hub_errors, status_in
from twinctl.hub.interrupt import interruptibly
from twinctl.hub.remote import LocalFile, RemoteRepo, read_remote, require_visibility
from twinctl.hub.retry_messages import XetWaits

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


@dataclass(frozen=True)
class Published:
    """The repo after a push: the commit and where to see it; with a pull request, that."""

    url: str
    sha: str
    commit_url: str
    revision: str | None
    pull_request: str | None
    remote: RemoteRepo

    @classmethod
    def of(cls, remote: RemoteRepo) -> Published:
        """A repo that has everything already."""
        url = Target("model", remote.repo).page()
        return cls(url, str(remote.sha), f"{url}/commit/{remote.sha}", remote.revision, None, remote)


def publish(
    remote: RemoteRepo,
    folder: Path,
    *,
    public: bool,
    message: str,
    gone: Sequence[str] = (),
    pull_request: bool = False,
    say: Callable[[str], None],
    show_progress: bool,
) -> Published:
    """Send the folder's files, and let go of `gone`, in one commit on what `remote` was. Raises HubError."""
    target = Target("model", remote.repo, remote.revision, "push")
    _show_progress(show_progress)
    say = _above_bars(say)
    with transfers(say), hub_errors(target):
        ready = _ready(remote, public=public, say=say)
        say(f"sending to {remote.repo}")
        upload = partial(
            api().upload_folder,
            repo_id=remote.repo,
            folder_path=folder,
            revision=None if pull_request else remote.revision,
            commit_message=message,
            parent_commit=None if pull_request else ready.sha,
            delete_patterns=[glob.escape(name) for name in gone] or None,
            create_pr=pull_request,
        )
        info = _sent(upload, say)
        say("reading back what is there now")
        after = read_remote(remote.repo, str(info.oid))
    revision = str(info.pr_revision) if info.pr_url else remote.revision
    url = Target("model", remote.repo).page()
    return Published(url, str(info.oid), str(info.commit_url), revision, info.pr_url, after)


def _ready(remote: RemoteRepo, *, public: bool, say: Callable[[str], None]) -> RemoteRepo:
    """The repo and the branch, created if they are missing."""
    if not remote.exists:
        say(f"making the {'public' if public else 'private'} repository {remote.repo}")
        api().create_repo(remote.repo, private=not public, exist_ok=True)
        remote = read_remote(remote.repo, remote.revision)
        require_visibility(remote, public=public)  # somebody may have made it meanwhile
    if not remote.has_branch and remote.revision:
        api().create_branch(remote.repo, branch=remote.revision, exist_ok=True)
        remote = read_remote(remote.repo, remote.revision)
    return remote


def _sent(upload: Callable[[], CommitInfo], say: Callable[[str], None]) -> CommitInfo:
    """The commit. The client renews the file store's pass before it expires, but not when the pass is refused."""
    waits = XetWaits(say)
    try:
        return interruptibly(upload, waits.tick)
    except ConnectionError as error:
        if status_in(error) != 401:
            raise
    say("the Hub's file store wants a new pass; asking for one")
    return interruptibly(upload, waits.tick)


def _above_bars(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, above the bars that the client draws on the terminal."""
    from huggingface_hub.utils.tqdm import tqdm

    def say_above(text: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            say(text)

    return say_above


def _show_progress(wanted: bool) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if wanted and sys.stderr.isatty():
        enable_progress_bars()
    else:
        disable_progress_bars()


def differences_on(remote: RemoteRepo, local: Mapping[str, LocalFile]) -> list[str]:
    """Which of the files are not on the Hub as they were sent: missing ones, and those with other bytes."""
    wrong = [name for name, file in sorted(local.items()) if not remote.has(name, file)]
    return [f"{name} is another file" if name in remote.files else f"{name} is not there" for name in wrong]


def require_same(remote: RemoteRepo, local: Mapping[str, LocalFile]) -> None:
    """Raise CheckFailed unless the Hub has all files as they were sent."""
    if differences := differences_on(remote, local):
        raise CheckFailed(
            f"what {remote.repo} holds is not what was sent: {'; '.join(differences[:5])}",
            f"look at {Target('model', remote.repo).page()}/tree/{remote.sha}, then type the same command again",
        )
