"""A text as its reader sees it: a title, and sections of paragraphs, from Markdown, HTML or plain text.

What must stay true: the words are the author's, in their order, without the markup; what is taken out is counted by its
kind; whatever the text, there is a document, if need be an empty one, or a ConfigError where a parser rejects it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twinctl.errors import ConfigError

if TYPE_CHECKING:
    from twinctl.data.html import Block

Format = Literal["md", "html", "txt"]


@dataclass(frozen=True)
class Section:
    """The paragraphs below a heading; "" for text before the first heading, or without any."""

    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """One text. `removed`: how many of each kind were taken out ("code block", "navigation", …), or, of links, lost
    their target. `titled`: the text itself says its title, which no section repeats.
    """

    title: str
    sections: tuple[Section, ...]
    removed: Mapping[str, int] = field(default_factory=dict)
    titled: bool = False


def read_document(text: str, format: Format, title: str = "") -> Document:
    """The text's document. Its title is that of its front matter, else its own (an HTML page's, or the first heading of
    level 1), else `title`, else its first words. Raises ConfigError for markup that the parser rejects.
    """
    removed: Counter[str] = Counter()
    try:
        body, stated = _without_front_matter(text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), removed)
        own = ""
        if format == "txt":
            blocks = list(_plain_blocks(body))
        elif format == "html":
            from twinctl.data.html import read_html

            blocks, own = read_html(body, removed)
        else:
            from twinctl.data.markdown import read_markdown

            blocks = read_markdown(body, removed)
    except RecursionError as error:
        raise ConfigError("its markup is nested too deeply", "take some levels out, or use --skip-bad") from error
    blocks = [(level, block) for level, block in blocks if block.strip()]
    own = stated or own or next((_line(block) for level, block in blocks if level == 1), "")
    sections = tuple(_sections(blocks, own))
    first_words = next((incipit(section.paragraphs[0]) for section in sections if section.paragraphs), "")
    name = own or _DATE.sub("", title.strip()) or first_words
    return Document(name, sections, dict(removed), titled=bool(own))


def _sections(blocks: Iterable[Block], title: str) -> Iterator[Section]:
    """The blocks by their headings. The first heading that is the title heads nothing: the title does."""
    heading, paragraphs = "", list[str]()
    for level, text in blocks:
        if not level:
            paragraphs.append(text)
            continue
        following = _line(text)
        if title and following.casefold() == _line(title).casefold():
            following = title = ""
        if heading or following:
            if heading or paragraphs:
                yield Section(heading, tuple(paragraphs))
            heading, paragraphs = following, []
    if heading or paragraphs:
        yield Section(heading, tuple(paragraphs))


def _line(text: str) -> str:
    return " ".join(text.split())


def incipit(text: str) -> str:
    """The words that a text begins with, to name it by; without marks of lists and quotes."""
    return shortened(_MARKS.sub("", text, count=1), words=8, characters=60)


def shortened(text: str, *, words: int, characters: int) -> str:
    """One line of at most so many words and characters, with “…” where more would follow."""
    parts = text.split(maxsplit=words)
    line = " ".join(parts[:words])
    if len(line) > characters:
        at_word = line[: characters + 1].rpartition(" ")[0]
        line = at_word if 2 * len(at_word) > characters else line[:characters]
    elif len(parts) <= words:
        return line
    return line.rstrip(" ,;:.–—-…") + "…"


_MARKS = re.compile(r"\A\s*(?:(?:[-•*>]|\d{1,3}[.)])\s+)*")
# Jekyll's file names begin with the day.
_DATE = re.compile(r"\d{4}([-_ ])\d\d\1\d\d\1+")


# Front matter: YAML between ---, TOML between +++

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
# A line of prose between two rules is not a setting.
_SETTING = re.compile(r"""[\w."'-]+[ \t]*[:=].*|[ \t-].*|[#\[\]{}].*|""")
_TITLE = re.compile(
    r"""^title[ \t]*[:=][ \t]*(?:"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>(?:[^'\n]|'')*)'"""
    r"""|[>|][+-]?[ \t]*\n(?P<block>(?:[ \t]+.*\n?)+)|(?P<bare>.*))""",
    re.MULTILINE | re.IGNORECASE,
)


def _without_front_matter(text: str, removed: Counter[str]) -> tuple[str, str]:
    """The text behind its front matter, and the title in it."""
    front = _FRONT_MATTER.match(text)
    if front is None or not front[2].strip() or not all(map(_SETTING.fullmatch, front[2].split("\n"))):
        return text, ""
    removed["front matter"] += 1
    body, title = text[front.end() :], _TITLE.search(front[2])
    if title is None:
        return body, ""
    from twinctl.data.markdown import read_markdown

    value = _value(title)
    words = " ".join(block for _, block in read_markdown(value.strip(), Counter()))
    return body, _line(words or value)


def _value(title: re.Match[str]) -> str:
    if title["double"] is not None:
        try:
            return str(json.loads(f'"{title["double"]}"'))
        except ValueError:
            return title["double"]
    if title["single"] is not None:
        return title["single"].replace("''", "'")
    return title["block"] or re.sub(r"(?:^|[ \t])#.*", "", title["bare"])


# Plain text

_UNDERLINED = re.compile(r"(?P<heading>\S.{0,98}[^\s,;.:])[ \t]*\n(?P<line>={3,}|-{3,})[ \t]*(?:\n|\Z)")
_ROMAN = r"(?=[ivxl])(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})"
_NUMBER = rf"(?:\d{{1,3}}|{_ROMAN}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_CHAPTER = re.compile(
    rf"""(?:chapter|part|book|act|canto|kapitel|teil|chapitre|partie|cap[ií]tulo|parte|capitolo|hoofdstuk|глава|часть)
    \ {_NUMBER}(?:[.:]?|(?:[.:]|\ [–—-])\ \S.{{0,78}}[^,;.:])
    |{_ROMAN}\.?
    |第[0-9０-９一二三四五六七八九十百]{{1,5}}[章回節节話话部].{{0,40}}""",
    re.IGNORECASE | re.VERBOSE,
)


def _plain_blocks(text: str) -> Iterator[Block]:
    """Paragraphs between blank lines. Headings are underlined lines, and lines numbered like chapters where there are
    several, for anything else may be the author's way to write a short paragraph.
    """
    paragraphs = [paragraph.strip() for paragraph in re.split(r"\n\s*\n", text)]
    chapters = {paragraph for paragraph in paragraphs if _CHAPTER.fullmatch(paragraph)}
    for paragraph in paragraphs:
        rest = paragraph
        if (mark := _UNDERLINED.match(rest)) and 2 * len(mark["line"]) >= len(mark["heading"]):
            yield 1 if mark["line"][0] == "=" else 2, mark["heading"]
            rest = rest[mark.end() :]
        yield 2 if len(chapters) > 1 and rest in chapters else 0, rest
