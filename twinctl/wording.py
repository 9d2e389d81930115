"""Words and numbers that messages in several rooms share: a near match for a misspelt name, a size in bytes, the
first line of an error.

What must stay true: standard library only, and nothing is loaded before a message needs it.
"""

from __future__ import annotations

from collections.abc import Iterable

MIB = 2**20
GIB = 2**30


def size_text(size: float) -> str:
    """A number of bytes in GiB, or in MiB below one GiB: “1.5 GiB”."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB else f"{size / MIB:,.1f} MiB"


def first_line(error: object) -> str:
    """The first line of an error's message, without torch's account of the memory in use; of an empty one the class."""
    return next(iter(str(error).splitlines()), type(error).__name__).split(" Including non-PyTorch memory")[0]


def near_match(name: str, known: Iterable[str]) -> str:
    """The known name that begins with `name`, or the one that is spelt most like it; empty when none does."""
    from difflib import get_close_matches

    names = list(known)
    longer = [candidate for candidate in names if name and candidate.startswith(name)]
    return next(iter(longer or get_close_matches(name, names, n=1)), "")


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint for an unknown name: the near match as a question; `otherwise` where there is none."""
    near = near_match(name, known)
    return f"did you mean “{near}”?" if near else otherwise
