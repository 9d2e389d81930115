"""The files of a pushed twin, brought back.

What must stay true: only files that twinctl.json lists come, of the kinds that hold no code; every one is compared with
its sha256 there before it is used; what came before an interruption is not asked for again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from twinctl.errors import CheckFailed, ConfigError, HubError
from twinctl.hub.client import api, offline, progress_hidden, transfers
from twinctl.hub.failures import Target, hub_errors
from twinctl.hub.interrupt import interruptibly
from twinctl.hub.remote import RemoteRepo, read_remote
from twinctl.hub.retry_messages import XetWaits
from twinctl.hub.secret_scan import allowed
from twinctl.workspace.disk import require_room
from twinctl.workspace.memo import file_sha256

WAITS = (1, 2, 4)


def remote_to_pull(repo: str, revision: str | None) -> RemoteRepo:
    """The repo as it is now. Raises HubError where it or the revision is not there, or not for this account."""
    target = Target("model", repo, revision, "pull")
    if offline():
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be fetched.", "Unset it, then type the same again.")
    remote = read_remote(repo, revision, errand="pull")
    if not remote.exists:
        raise HubError(
            f"There is no model {repo} on the Hub that this account can see.",
            f"Check the spelling at {target.page()}; if it is private, set HF_TOKEN with access to it.",
        )
    if not remote.has_branch:
        raise HubError(
            f"The model {repo} has no revision “{revision}”.", f"They are listed at {target.page()}/tree/main."
        )
    return remote


def require_pullable(kind: str, files: Iterable[str], remote: RemoteRepo) -> None:
    """Raise ConfigError unless every file is of a kind that holds weights or settings, and is there."""
    for name in files:
        if not allowed(kind, name):
            raise ConfigError(
                f"{remote.repo} lists {name}, which is no file of a twin", "pull a repo that twinctl pushed"
            )
        if name not in remote.files:
            raise ConfigError(f"{name} is listed by {remote.repo} and not there", "push the twin again, then pull it")


def fetch(
    repo: str,
    sha: str,
    files: Mapping[str, tuple[int, str]],
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> None:
    """Bring the files (name → bytes, sha256) of a commit into the folder; what is there with the right digest stays.

    Raises HubError, and CheckFailed for a file that is another.
    """
    total = sum(size for size, _ in files.values())
    folder.mkdir(parents=True, exist_ok=True)
    present = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    require_room(folder, total - present, "the download")
    target, watched = Target("model", repo, sha, "pull"), DownloadProgress(folder, total, progress)
    with transfers(say):
        for name, (size, digest) in files.items():
            if not _is_same(folder / name, size, digest):
                _download_patiently(target, name, folder, say, watched)
            if not _is_same(folder / name, size, digest):
                (folder / name).unlink(missing_ok=True)
                raise CheckFailed(
                    f"{name} of {repo} is not the file that was pushed: its sha256 is another",
                    "push it again from where it was made, then pull again",
                )
    shutil.rmtree(folder / ".cache", ignore_errors=True)


class DownloadProgress:
    """Tells every other second how much is here: what is done, and what is half done in the client's folder."""

    def __init__(self, folder: Path, total: int, progress: Callable[[int, int], None]) -> None:
        self._folder, self._total, self._progress, self._next = folder, total, progress, time.monotonic() + 1

    def tick(self) -> None:
        """To be called often."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 2
        size = 0
        for path in self._folder.rglob("*"):
            with suppress(OSError):  # renamed meanwhile
                size += path.stat().st_size if path.is_file() else 0
        self._progress(min(size, self._total), self._total)


def _download_patiently(
    target: Target, name: str, folder: Path, say: Callable[[str], None], watched: DownloadProgress
) -> None:
    """The client tries a dropped connection again; this also tries a Hub again that answers with an error."""
    for number, wait in enumerate(WAITS, 1):
        try:
            return _download(target, name, folder, say, watched)
        except HubError as error:
            if not error.may_pass:
                raise
            say(f"{error.message} Trying again in {wait} s ({number} of {len(WAITS)})")
        time.sleep(wait)
    return _download(target, name, folder, say, watched)


def _download(target: Target, name: str, folder: Path, say: Callable[[str], None], watched: DownloadProgress) -> None:
    with progress_hidden(), hub_errors(target):
        work = partial(api().hf_hub_download, target.repo_id, name, revision=target.revision, local_dir=folder)
        waits = XetWaits(say)

        def tick() -> None:
            watched.tick()
            waits.tick()

        interruptibly(work, tick)


def _is_same(path: Path, size: int, digest: str) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
        return False
    return file_sha256(path) == digest
