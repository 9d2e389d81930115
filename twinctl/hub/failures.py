"""What the Hub's client raises, as errors that say what to do.

What must stay true: every failure of the Hub or the way to it is a `HubError` chained to its cause, the status is
looked at before the class (the client calls several different refusals "not found"), and no message carries
anything of the client's own text, which may quote headers or URLs with secrets in them.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from twinctl.errors import ConfigError, HubError, TwinctlError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_TOKEN = "set HF_TOKEN in the environment or in .env"


@dataclass(frozen=True)
class Target:
    """What was asked of the Hub: a model or dataset repo, at a branch, tag or commit (None: its main branch).

    `errand`: to read it, to write to it (push), or to bring back what was pushed (pull).
    """

    kind: Literal["model", "dataset"]
    repo_id: str
    revision: str | None = None
    errand: Literal["read", "push", "pull"] = "read"

    @property
    def alternative(self) -> str:
        """What to do without the Hub; for a push and a pull: what the same command does."""
        if self.errand == "push":
            return "type the same command again: it sends only what is missing"
        if self.errand == "pull":
            return "type the same command again: it resumes"
        if self.kind == "model":
            return "use a copy of the model: --model PATH_OR_ID (a local path will do)"
        return "give a local path to the rows"

    def page(self) -> str:
        """The repo's page, where a licence is accepted."""
        return f"{_endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"


@contextmanager
def hub_errors(target: Target) -> Iterator[None]:
    """Turn what the Hub's client, httpx and datasets raise inside into a `HubError` about `target`, or into a
    ConfigError where the local disk is full or cannot be written.
    """
    import httpx
    from huggingface_hub.errors import RevisionResolutionError

    # ValueError: a bad id, or a login page in place of an answer. RuntimeError: Xet's transfers.
    try:
        yield
    except (httpx.HTTPError, OSError, RevisionResolutionError, ValueError, RuntimeError) as error:
        raise _hub_error(error, target) from error


def _hub_error(error: Exception, target: Target) -> TwinctlError:
    """The message for a failure, by the most telling exception of its chain."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            return _refusal(cause, target)
        if isinstance(cause, httpx.HTTPError):
            return unreachable(target, cause)
        if isinstance(cause, ConnectionError) or "CAS Client Error" in str(cause):  # sending, and bringing by Xet
            return _store_failure(cause, target)
        if isinstance(cause, HFValidationError):
            return HubError(
                f'"{target.repo_id}" is not a {target.kind} id.', f"Ids look like owner/name. Or {target.alternative}."
            )
        if isinstance(cause, json.JSONDecodeError):
            return HubError(
                f"What answers at {_endpoint()} is not the Hub.", "Check the network's login page, and HF_ENDPOINT."
            )
        cause = cause.__cause__ or cause.__context__
    return _local_failure(error, target)


def _refusal(error: HfHubHTTPError, target: Target) -> HubError:
    """The Hub answered, and the answer is no."""
    from huggingface_hub import errors

    status = error.response.status_code
    if target.errand == "push" and (refused := _write_refusal(status, error.server_message or "", target)):
        return refused
    if isinstance(error, errors.GatedRepoError):
        no_token = f"The {target.kind} {target.repo_id} is gated, and there is no token to ask with."
        not_let_in = f"The {target.kind} {target.repo_id} is gated, and this account has not been let in."
        return HubError(
            no_token if status == 401 else not_let_in,
            f"Accept its licence at {target.page()} and {_TOKEN}; or {target.alternative}.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(
            f'The {target.kind} {target.repo_id} has no revision "{target.revision or "main"}".',
            f"Branches, tags and commits are listed at {target.page()}/tree/main.",
        )
    return _refused_with(404 if isinstance(error, errors.RepositoryNotFoundError) else status, target)


def _refused_with(status: int, target: Target) -> HubError:
    """What the status alone says."""
    what = f"{target.kind} {target.repo_id}"
    if status == 404:
        return HubError(
            f"There is no {what} on the Hub that this account can see.",
            f"Check the spelling at {target.page()}; if it is private, {_TOKEN} with access to it.",
        )
    if status == 401:
        return HubError(
            "The Hub does not accept the token (401).", f"Make a new one at {_endpoint()}/settings/tokens and {_TOKEN}."
        )
    if status == 403:
        return HubError(
            f"The Hub refuses access to the {what} (403).", f"Use a token with read access to it: {_TOKEN}."
        )
    if status == 429:
        return HubError(
            "The Hub asks to slow down (429).", f"Wait some minutes; with a token the limit is higher: {_TOKEN}."
        )
    return _passing(f"The Hub returned {status}.", f"Try again later, or {target.alternative}.")


def _passing(message: str, hint: str) -> HubError:
    """An error after which a later try may succeed."""
    error = HubError(message, hint)
    error.may_pass = True
    return error


def _write_refusal(status: int, words: str, target: Target) -> HubError | None:
    """The Hub takes no files, or not these; None for what is the same when reading."""
    again = f"Look at {target.page()}, then {target.alternative}."
    if status == 403 and "storage" in words.lower():
        return HubError(
            f"The account has no room left for {target.repo_id} (403).",
            f"Its storage is listed at {_endpoint()}/settings/billing: free space, or push to a public repository.",
        )
    if status == 403:
        return HubError(
            f"The Hub does not let this token write to {target.repo_id} (403).",
            f"Make one with write access at {_endpoint()}/settings/tokens and {_TOKEN}.",
        )
    refusals = {
        400: (f"The Hub does not take what was sent to {target.repo_id} (400).", f"--debug shows its words. {again}"),
        409: (f"Somebody else is changing {target.repo_id} at this moment (409).", again),
        412: (
            f"{target.repo_id} was changed while this was being sent (412); nothing of it was changed by this push.",
            again,
        ),
        413: (
            f"A file is larger than the Hub takes (413); nothing of {target.repo_id} was changed.",
            "Push a smaller one: twinctl export -q q8_0.",
        ),
    }
    return HubError(*refusals[status]) if status in refusals else None


def status_in(error: BaseException | str) -> int | None:
    """The status in what the Xet client raises, its classes telling nothing; None where nobody answered."""
    match = re.search(r"HTTP status \w+ error \((\d{3})", str(error))
    return int(match[1]) if match else None


def _store_failure(error: BaseException, target: Target) -> HubError:
    """The Xet client failed: at the Hub, which gives it a pass, or at the store that takes and gives large files."""
    address = re.search(r"https?://[^/\s]+", str(error))
    host, status = urlsplit(address[0] if address else "").hostname, status_in(error)
    at_hub = not address or _endpoint().startswith(address[0])
    if status and (at_hub or status in (413, 429)):
        refused = _write_refusal(status, "", target) if target.errand == "push" else None
        return refused or _refused_with(status, target)
    if at_hub:
        return unreachable(target, error)
    if status in (401, 403):
        return HubError(
            f"The Hub's file store, {host}, does not take the pass that the Hub gave for it ({status}).",
            f"Is this machine's clock right? If so, {target.alternative}.",
        )
    answered = f"The Hub's file store, {host}, answered {status}."
    return _passing(
        answered if status else f"Cannot reach the Hub's file store, {host}.",
        f"To use another protocol: HF_HUB_DISABLE_XET=1. Or try again later; {target.alternative}.",
    )


def unreachable(target: Target, error: BaseException | None = None) -> HubError:
    """There was no answer."""
    import httpx

    how = "no answer in time" if isinstance(error, httpx.TimeoutException) else "no connection"
    alternative = f"or set HF_ENDPOINT to a mirror, or {target.alternative}"
    return _passing(
        f"Cannot reach the Hub at {urlsplit(_endpoint()).hostname} ({how}).",
        f"Check the connection, {alternative if target.errand == 'read' else 'then ' + target.alternative}.",
    )


def not_cached(target: Target) -> HubError:
    """Offline mode, and the cache does not have it."""
    revision = f" at {target.revision}" if target.revision else ""
    return HubError(
        f"HF_HUB_OFFLINE is set, and the {target.kind} {target.repo_id}{revision} is not complete in the local cache.",
        f"Run once with HF_HUB_OFFLINE unset, or {target.alternative}.",
    )


def _local_failure(error: Exception, target: Target) -> TwinctlError:
    """No answer of the Hub is to blame: offline mode, the disk, or something the client choked on."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        return not_cached(target)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        from huggingface_hub.constants import HF_HOME

        return ConfigError(
            f"Cannot write the download of {target.repo_id} under {HF_HOME}: {error.strerror}.",
            "Make room there, or set HF_HOME to a folder on another disk.",
        )
    done = "sent" if target.errand == "push" else "fetched"
    return HubError(
        f"The {target.kind} {target.repo_id} could not be {done} ({type(error).__name__}).",
        f"--debug shows the cause. Try again, or {target.alternative}.",
    )


def settings_page(name: str, repo: str = "") -> str:
    """The page where an account, or a repo, is set up."""
    return "/".join(part for part in (_endpoint(), repo, "settings", name) if part)


def _endpoint() -> str:
    """The Hub's address, without a user and password somebody may have written into it."""
    from huggingface_hub.constants import ENDPOINT

    parts = urlsplit(ENDPOINT)
    return str(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
