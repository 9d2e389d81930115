"""Names of repositories on the Hub.

What must stay true: what the Hub would take as a name for a new repository is one rule. What a user may have meant as
a repository's name is another, which is wider: an old name may break today's rule. What a document from the Hub may
call one is a third: old data sets have no owner, and nothing in it may be taken for a path or act on a terminal.
"""

from __future__ import annotations

import re

from twinctl.errors import UsageError

STORED_ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?"
_REPO_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# The Hub's own rule: letters, digits, “-”, “_” and “.”, at most 96, no “--” or “..”, no such mark at an end.
_NEW_NAME = re.compile(
    r"(?!.*(--|\.\.))(?!.*\.git$)[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
)


def is_repo_id(text: str) -> bool:
    """Whether a text can be the id of a repository, OWNER/NAME."""
    return _REPO_ID.fullmatch(text) is not None


def require_new_name(repo: str) -> None:
    """Raise UsageError unless the Hub takes this name for a repository."""
    if not _NEW_NAME.fullmatch(repo):
        raise UsageError(
            f"“{repo}” is not a repository's name", "write OWNER/NAME, for example: twinctl push me/my-twin --dry-run"
        )
