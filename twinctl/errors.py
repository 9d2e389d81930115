"""Every failure that a user can meet: what happened, what to do about it, and the exit code that scripts read.

What must stay true: each kind of error is a class of this module and has an exit code of its own, wherever it is
raised; the codes are those of docs/exit-codes.md. Standard library only: all other modules import this one, also on the
way to `--help`.
"""

from __future__ import annotations

import errno


class TwinctlError(Exception):
    """A failure that is explained. `message` says what happened and where; `hint` is what to type or change. Raised
    itself, it is a bug in twinctl.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """The error's name in `--json` output: the class name, e.g. "ConfigError"."""
        return type(self).__name__

    @property
    def document(self) -> dict[str, str]:
        """The error as JSON has it; `error_of` reads it."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(TwinctlError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(TwinctlError):
    """A setting or a row of data is wrong, or the chosen folder cannot be written, as on a full disk."""

    exit_code = 3


class UpstreamError(TwinctlError):
    """An earlier phase's result is missing or damaged, or conflicts with what is asked."""

    exit_code = 4


class BusyError(TwinctlError):
    """Another process works on the same result."""

    exit_code = 5


class EngineError(TwinctlError):
    """The machine or the training stack cannot do the work: memory, device or driver."""

    exit_code = 6


class HubError(TwinctlError):
    """The Hub or the network refused, or could not be reached. `may_pass`: there was no answer, or the Hub has a
    fault of its own, so that a later try may succeed.
    """

    exit_code = 7
    may_pass = False


class CheckFailed(TwinctlError):
    """The work was done and its result is not good: an audit or a verification failed, or a loss is not a number."""

    exit_code = 8


class Interrupted(TwinctlError):
    """The work was stopped by Ctrl-C or `twinctl stop`; what was done is kept."""

    exit_code = 130


class Terminated(Interrupted):
    """The work was stopped by SIGTERM; what was done is kept."""

    exit_code = 143


def error_of(code: str, message: str, hint: str) -> TwinctlError:
    """The error that was written down as its `code`, message and hint, by a worker, a child process, or another version
    of twinctl.
    """
    kind: type[TwinctlError] = globals().get(code, TwinctlError)
    return kind(message, hint)


class SigTerm(SystemExit):
    """Raised in a command by SIGTERM. It is no Exception, because libraries and twinctl catch those to explain them.
    Of the others, asyncio lets only SystemExit and KeyboardInterrupt out of an event loop.
    """

    def __init__(self) -> None:
        super().__init__(Terminated.exit_code)


_PERMISSION = "check the permissions there, or choose another folder: --workspace DIR"
MAKE_ROOM = "free space there, or choose another folder: --workspace DIR"
_HINTS = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.ENOSPC: MAKE_ROOM,
    errno.EDQUOT: MAKE_ROOM,
}


def explained(error: BaseException) -> TwinctlError | None:
    """The failure as a TwinctlError: one that is one already, a full disk, a missing permission; None for a bug."""
    if isinstance(error, TwinctlError):
        return error
    if isinstance(error, OSError) and error.errno in _HINTS:
        return ConfigError(f"{error.filename or 'a file'}: {error.strerror}", _HINTS[error.errno])
    return None
