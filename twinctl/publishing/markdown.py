"""Markdown in which foreign text stays text.

What must stay true: nothing that `plain` returns begins or ends any structure of Markdown, HTML or the Hub's formulas,
wherever on a line it stands, and it is one line; a fence is longer than any in what it holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# What Markdown, GitHub's tables and links, HTML, mentions, emoji and KaTeX begin with. Entities are text to all of
# them; backslashes are not: the Hub takes `\\(` for a formula.
_ACTIVE = re.compile(r"[\\`*_{}\[\]<>()#|~&$@!^=:\"]|(?<=www)\.")
_OPENING = re.compile(r"\A(?:[-+]|\d+\.)")  # at a line's beginning: a list's marks
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")
_SAFE = re.compile(r"[\w./:@\[\]%+,=<|> -]*")


def plain(text: str) -> str:
    """The text as one line that shows as it is; characters without a look (controls, turned writing) are left out."""
    shown = (" " if unicodedata.category(letter) in _INVISIBLE else letter for letter in text)
    line = " ".join("".join(shown).split())
    return _OPENING.sub(_entity, _ACTIVE.sub(_entity, line))


def _entity(match: re.Match[str]) -> str:
    return "".join(letter if letter.isalnum() else f"&#{ord(letter)};" for letter in match[0])


def quote(text: str, *, longest: int) -> str:
    """The text as a block quote, its lines kept, cut at so many characters."""
    cut = text.strip() if len(text.strip()) <= longest else text.strip()[:longest].rstrip() + " …"
    lines = [plain(line) for line in cut.splitlines()]
    return "\n>\n".join(f"> {line}" for line in lines if line)


def code(text: str) -> str:
    """The text as code where it is of harmless characters, else plain."""
    return f"`{text}`" if text.strip() and _SAFE.fullmatch(text) else plain(text)


def fence(text: str, language: str = "") -> str:
    """The text as a block of code."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |" for cells in lines)


def joined(parts: Sequence[str]) -> str:
    """The parts that are not empty, a blank line between."""
    return "\n\n".join(part for part in parts if part)
