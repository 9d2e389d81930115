"""A document as questions for its passages, or as plain text, in pieces that fit.

What must stay true: a passage is the author's own words, verbatim and in their order; nothing but white space at a cut
is lost, nothing is added; no piece is longer than there is room; no two questions of a document are the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from twinctl.data.documents import Document, incipit, shortened

Length = Callable[[str], int]
# What a passage aims at, and what is too little to stand alone, in tokens.
AIM, TINY = 512, 32


@dataclass(frozen=True)
class Passage:
    """A question, and the author's words that answer it."""

    prompt: str
    text: str


def passages(document: Document, *, length: Length, room: int) -> Iterator[Passage]:
    """The document's passages, none longer than `room` tokens, which is at least 1. A heading's passages are cut at
    about 512 tokens, between paragraphs where that can be, else between sentences.
    """
    aim = min(room, AIM)
    cut = [
        (section.heading, text)
        for section in document.sections
        for text in _cut("\n\n".join(section.paragraphs), length, aim, room)
    ]
    title = _label(document.title)
    if len(cut) == 1 and title and not cut[0][0]:
        yield Passage(f"Write “{title}”.", cut[0][1])
        return
    seen: Counter[str] = Counter()
    for heading, text in cut:
        name = _label(heading) or _label(incipit(text)) or "…"
        seen[name] += 1
        whole = f" of “{title}”" if title and title != name else ""
        part = f", part {seen[name]}" if seen[name] > 1 else ""
        yield Passage(f"Write the passage “{name}”{whole}{part}.", text)


def plain_text(document: Document) -> str:
    """The whole text, an empty line between its paragraphs; its headings, and the title that it says, are lines."""
    parts = [document.title] if document.titled else []
    for section in document.sections:
        parts += [section.heading, *section.paragraphs]
    return "\n\n".join(filter(None, parts))


def pieces(text: str, *, length: Length, room: int) -> Iterator[str]:
    """The text in pieces of at most `room` tokens, which is at least 1, cut between paragraphs where that can be, else
    sentences, words, or characters (one of which may alone be more than `room`). Joined they are the text, but for
    white space at the cuts.
    """
    yield from _cut(text, length, room, room)


def _label(text: str) -> str:
    """A heading or title to stand between quotation marks: short, on one line, with no such marks of its own."""
    line = shortened(text, words=20, characters=120)
    if quoted := re.fullmatch(r'["“„”]([^"“„”]*)["“”]', line):
        line = quoted[1]
    return line.translate(_SINGLE).strip().removesuffix(":")


_SINGLE = str.maketrans({"“": "‘", "”": "’", "„": "‚", '"': "'"})


# Cutting


@dataclass(frozen=True, slots=True)
class _Part:
    """Characters that are not cut further. `tokens`: their length; `wanted`: what it is best to have room for to put
    them next to others: at the start of a paragraph that is cut, all of it.
    """

    start: int
    end: int
    tokens: int
    wanted: int


def _cut(text: str, length: Length, aim: int, room: int) -> list[str]:
    if room < 1:
        raise ValueError("there is no room for any text")
    text = text.strip()
    parts = list(_parts(text, length, aim, room))
    spans = [span for group in _groups(parts, aim, room) for span in _whole(text, group, length, room)]
    if len(spans) > 1 and length(text[slice(*spans[-1])]) < TINY:
        *others, (start, _), (_, end) = spans
        spans = [*others, (start, end)] if length(text[start:end]) <= room else spans
    cut = (text[start:end].strip() for start, end in spans)
    return [piece for piece in cut if piece]


def _groups(parts: Sequence[_Part], aim: int, room: int) -> Iterator[list[_Part]]:
    """Neighbours that make a piece: at most `aim` tokens, and about as many in each piece; more, where a tiny one
    would be left alone.
    """
    total = sum(part.tokens + 1 for part in parts)  # with the white space behind each
    even = total / max(1, -(-total // aim))
    group: list[_Part] = []
    size = 0
    for part in parts:
        fits = size + part.wanted <= aim and size + part.wanted / 2 <= even
        if group and not fits and not (size < TINY and size + part.tokens <= room):
            yield group
            group, size = [], 0
        group.append(part)
        size += part.tokens + 1
    if group:
        yield group


def _whole(text: str, group: Sequence[_Part], length: Length, room: int) -> list[tuple[int, int]]:
    """The group as one piece; as two where its parts are longer together than separately, and over `room`."""
    start, end, half = group[0].start, group[-1].end, len(group) // 2
    surely = 2 * sum(part.tokens + 1 for part in group) <= room  # no tokenizer is that odd
    if len(group) == 1 or surely or length(text[start:end].strip()) <= room:
        return [(start, end)]
    return _whole(text, group[:half], length, room) + _whole(text, group[half:], length, room)


def _parts(text: str, length: Length, aim: int, room: int) -> Iterator[_Part]:
    """Paragraphs; sentences of those that are over `aim`; words of those that are over `room`."""
    paragraph_ends = (match.end() for match in re.finditer(r"\n\s*\n\s*", text))
    for start, end in _between(0, len(text), paragraph_ends):
        whole = length(text[start:end].strip())
        if whole <= aim:
            yield _Part(start, end, whole, whole)
            continue
        marks = _SENTENCE_END.finditer(text, start, end)
        sentence_ends = (mark.end() for mark in marks if _ends_sentence(text, mark))
        for first, last in _between(start, end, sentence_ends):
            tokens = length(text[first:last].strip())
            for part in _fitting(text, first, last, tokens, length, aim, room):
                yield _Part(*part, whole if part[0] == start else part[2])


def _between(start: int, end: int, cuts: Iterator[int]) -> Iterator[tuple[int, int]]:
    for cut in cuts:
        if start < cut < end:
            yield start, cut
            start = cut
    if start < end:
        yield start, end


def _fitting(
    text: str, start: int, end: int, tokens: int, length: Length, aim: int, room: int
) -> Iterator[tuple[int, int, int]]:
    """A sentence, or if it is over `room`, parts of it that are about equal: lines, words, clauses or characters."""
    if tokens <= room or end - start == 1:
        yield start, end, tokens
        return
    borders = next(filter(None, (_ends(pattern, text, start, end) for pattern in _BORDERS)), range(start + 1, end))
    count = tokens // aim + 1
    targets = (start + (end - start) * number // count for number in range(1, count))
    cuts = sorted({borders[max(bisect_right(borders, target) - 1, 0)] for target in targets})
    for first, last in _between(start, end, iter(cuts)):
        yield from _fitting(text, first, last, length(text[first:last].strip()), length, aim, room)


_BORDERS = (re.compile(r"\n\s*"), re.compile(r"\s+"), re.compile(r"[,;:，、；：،]+"))


def _ends(pattern: re.Pattern[str], text: str, start: int, end: int) -> Sequence[int]:
    return [match.end() for match in pattern.finditer(text, start, end) if start < match.end() < end]


# Sentences

_SENTENCE_END = re.compile(
    r"""(?<![.!?…؟۔।॥։።။])(?P<mark>[.!?…؟۔।॥։።။]++)(?P<closed>["'”’»›)\]}*_]*+)\s++"""
    r"""|(?P<wide>[。！？｡]++)(?P<shut>[」』”’）】》〉"')\]]*+)\s*+"""
    r"""|\n\s*(?=(?:[-*•>]|\d{1,3}[.)])[ \t])"""
)
# What a full stop after it does not end: an initial, the number in a list, letters with full stops between, and these.
_SHORT = re.compile(
    r"""[^\W\d_]|\d{1,2}|(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}
    |mr|mrs|ms|messrs|dr|prof|rev|hon|st|sr|jr|gen|col|capt|lt|sgt|vs|cf|ca|fig|figs|eq|eqs|ch|sec|vol|vols|no|nos|nr
    |pp|ed|eds|al|inc|ltd|corp|approx|dept|est|viz|resp|bzw|ggf|evtl|vgl|abb|bd|hr|fr|hrsg|sog|inkl|exkl|zzgl|max|min
    |mme|mlle|art|chap|sra|srta|dra|ud|uds|pág|sig|dott|ing|avv|np|tzn|mgr|inż|tj|jan|feb|aug|sept|oct|nov|dec""",
    re.IGNORECASE | re.VERBOSE,
)


def _ends_sentence(text: str, end: re.Match[str]) -> bool:
    """Rather one border too few than one too many: two sentences in one part do no harm, half a one reads badly."""
    mark, following = end["mark"], text[end.end() : end.end() + 1]
    if end["wide"]:  # 「なに？」と言った continues behind the bracket
        return end["wide"][-1] in "。｡" or not end["shut"] or text[end.end() - 1].isspace()
    if not mark:
        return True
    if following in (",", ";", ":", ")"):
        return False
    continues = following.islower()
    if continues and (end["closed"] or len(mark) > 1 or mark == "…"):  # “Why?” he asked. Well... yes
        return False
    word = re.split(r"[\s(\[{\"'“‘„«]", text[max(0, end.start() - 24) : end.start()].rstrip())[-1]
    return mark != "." or not (_SHORT.fullmatch(word) or (continues and word.lower() in ("etc", "usw", "ecc")))
