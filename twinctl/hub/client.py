"""One bounded way to the Hub.

What must stay true: no request waits without a limit (the client's own default is to wait forever); the first request
of every errand is a plain one that is not retried, so a Hub that is down, shut or wrongly named is reported at once
and not after the minute of retries that a download may take; the token is read by the client, never handled here; the
signal that ends a command ends its transfers.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twinctl.errors import HubError
from twinctl.hub.failures import Target, hub_errors
from twinctl.hub.interrupt import Connections
from twinctl.hub.retry_messages import HttpWaits, reason_for
from twinctl.workspace.files import write_text

if TYPE_CHECKING:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

SECONDS = 8.0
"""How long one step of a request (connect, read) may take."""
TRANSFER_SECONDS = 60.0
"""How long one step may take while files are sent: the Hub answers a large commit late."""
RETRIED = (408, 429, 500, 502, 503, 504)
"""Answers after which the client sends a request again, as it documents for its `http_backoff`."""
# The Xet client's own are 60 s for a connection, and 3, 9, 27, 81 and 243 s between tries. Its 5 minutes for an answer
# stay: they begin with the request, and 64 MB over a slow line take some.
_XET_LIMITS = {
    "HF_XET_CLIENT_CONNECT_TIMEOUT": "10s",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "4",
    "HF_XET_CLIENT_RETRY_BASE_DELAY": "2s",
}


def offline() -> bool:
    """Whether the user asked, with HF_HUB_OFFLINE, for the local cache only."""
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


@functools.cache
def api() -> HfApi:
    """The Hub's client, with time limits set for the whole process.

    Raises HubError where the token could not travel in a header: the HTTP library would print it.
    """
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not re.fullmatch(r"[\x21-\x7e]*", huggingface_hub.get_token() or ""):
        raise HubError("HF_TOKEN has characters that no token has.", "Copy it again from the Hub's settings page.")
    for name, value in _XET_LIMITS.items():  # what the user set stays
        os.environ.setdefault(name, value)
    huggingface_hub.set_client_factory(_bounded_client)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub.HfApi(library_name="twinctl")


def _bounded_client() -> httpx.Client:
    import httpx

    return httpx.Client(**_options(), timeout=SECONDS)


def _options() -> dict[str, Any]:
    return {"event_hooks": {"request": [_refuse_offline]}, "follow_redirects": True}


@contextmanager
def progress_hidden() -> Iterator[None]:
    """Inside the block the client draws no progress: for files that come faster than anybody could read it."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    was_drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if was_drawn:
            enable_progress_bars()


@contextmanager
def transfers(say: Callable[[str], None]) -> Iterator[None]:
    """Inside the block a step of a request may take as long as a large commit takes the Hub; `say` hears why the client
    waits before it tries again; Ctrl-C and SIGTERM end all requests.
    """
    import httpx
    import huggingface_hub

    connections, waits = Connections(), HttpWaits(say)

    class Client(httpx.Client):
        def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            connections.watch(request)
            try:
                response = super().send(request, **options)
            except httpx.TransportError as error:
                too_late = isinstance(error, httpx.TimeoutException)
                waits.failed("no answer in time" if too_late else "the connection broke")
                raise
            if response.status_code in RETRIED:
                waits.failed(reason_for(response.status_code))
            return response

    api()
    patience = httpx.Timeout(TRANSFER_SECONDS, connect=SECONDS)
    huggingface_hub.set_client_factory(lambda: Client(**_options(), timeout=patience))
    try:
        with waits.reported():
            yield
    except (KeyboardInterrupt, SystemExit):
        connections.close()
        raise
    finally:
        if not connections.are_closed:  # else the threads that are left behind would open others
            huggingface_hub.set_client_factory(_bounded_client)


def _refuse_offline(request: httpx.Request) -> None:
    # The client's own factory has this hook too; a factory of ours must not lose it.
    from huggingface_hub.errors import OfflineModeIsEnabled

    if offline():
        raise OfflineModeIsEnabled(f"offline mode: {request.url.host} is not asked")


def repo_info(target: Target, *, files: bool = False) -> ModelInfo | DatasetInfo:
    """What the Hub says of a repo at a revision, one request (two when it is gated).

    A gated repo tells its metadata to everybody, so access is asked for as well: better now than at the first weight.
    Raises HubError.
    """
    with hub_errors(target):
        info = api().repo_info(
            target.repo_id, repo_type=target.kind, revision=target.revision, files_metadata=files, timeout=SECONDS
        )
        if info.gated:
            api().auth_check(target.repo_id, repo_type=target.kind)
    if isinstance(info.sha, str):
        _remember(target, info.sha)
    return cast("ModelInfo | DatasetInfo", info)  # nothing else is asked for


def cached_sha(target: Target) -> str:
    """The commit that a revision stood for when the Hub was last asked. Raises HubError when it never was."""
    with hub_errors(target):
        answer = api().resolve_revision(
            target.repo_id, repo_type=target.kind, revision=target.revision, local_files_only=True
        )
    return str(answer.resolved)


def _remember(target: Target, sha: str) -> None:
    """Note in the Hub's cache what a branch or tag stands for, as the client does when it downloads by name.

    Everything here is downloaded by commit, so without this note offline mode could not tell what "main" was.
    """
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    name = target.revision or "main"
    if name == sha:
        return
    note = Path(HF_HUB_CACHE, repo_folder_name(repo_id=target.repo_id, repo_type=target.kind), "refs", name)
    with suppress(OSError):  # a cache that cannot be written serves the commits it has
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, sha)
