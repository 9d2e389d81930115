"""Every failure a user can meet: what happened, the mend, and the exit code that scripts read.

Standard library only: this module is imported by all the others, also on the way to `--help`.
"""

from __future__ import annotations

import errno


class TwinctlError(Exception):
    """A failure with a mend. `message` says what happened and where; `hint` is what to type or change."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """The error's name in `--json` output: the class name, e.g. "ConfigError"."""
        return type(self).__name__


class UsageError(TwinctlError):
    """The command line itself is wrong."""

    exit_code = 2


class ConfigError(TwinctlError):
    """A setting or a row of data is wrong, or the chosen folder's disk is full or cannot be written."""

    exit_code = 3


class UpstreamError(TwinctlError):
    """Something that an earlier phase makes is missing, damaged, or contradicts what is asked."""

    exit_code = 4


class BusyError(TwinctlError):
    """Another process works on the same artifact."""

    exit_code = 5


class EngineError(TwinctlError):
    """The machine or the training stack cannot do it: memory, device, driver."""

    exit_code = 6


class HubError(TwinctlError):
    """The Hub or the network refused, or could not be reached. `may_pass`: nobody answered, or
    the Hub is not well; a later try may go better.
    """

    exit_code = 7
    may_pass = False


class CheckFailed(TwinctlError):
    """The work was done and its result is not good: an audit, a proof, a loss that is not a number."""

    exit_code = 8


class Interrupted(TwinctlError):
    """Asked to stop (Ctrl-C, `twinctl stop`); what was done so far is kept."""

    exit_code = 130


class Terminated(Interrupted):
    """The same by SIGTERM or SIGHUP."""

    exit_code = 143


def error_of(code: str, message: str, hint: str) -> TwinctlError:
    """The error that was written down as its `code`, message and hint, by a worker, a child process, or another version
    of twinctl.
    """
    kind: type[TwinctlError] = globals().get(code, TwinctlError)
    return kind(message, hint)


class SigTerm(SystemExit):
    """Raised where SIGTERM finds a command. No Exception: those are caught, by libraries and by us, to be explained.
    Of all others, asyncio lets only this kind and KeyboardInterrupt out of an event loop.
    """

    def __init__(self) -> None:
        super().__init__(Terminated.exit_code)


_PERMISSION = "check the permissions there, or choose another folder: --workspace DIR"
MAKE_ROOM = "make room there, or choose another folder: --workspace DIR"
_MENDS = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
}


def explained(error: BaseException) -> TwinctlError | None:
    """The failure with its mend: one of ours as it is, a full disk or a missing permission in words; None for a bug."""
    if isinstance(error, TwinctlError):
        return error
    if isinstance(error, OSError) and error.errno in _MENDS:
        return ConfigError(f"{error.filename or 'a file'}: {error.strerror}", _MENDS[error.errno])
    return None
