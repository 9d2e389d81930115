"""A row of any known shape as messages, or the reason why it is dropped."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from twinctl.data.template import Message
from twinctl.errors import ConfigError

INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"


def column_map(pairs: tuple[str, ...]) -> dict[str, str]:
    """["instruction=question"] as {"instruction": "question"}. Raises ConfigError for another form."""
    found = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs or ours not in (INSTRUCTION, INPUT, OUTPUT):
            raise ConfigError(
                f"“{pair}” does not map a column", "for example: --map instruction=question --map output=answer"
            )
        found[ours] = theirs
    return found


def messages_of(row: Mapping[str, Any], columns: Mapping[str, str], place: str) -> list[Message] | str:
    """The row's user and assistant messages, or the reason to drop it ("empty instruction", …).

    Raises ConfigError when a column is not there, naming those that are and the option that maps them.
    """
    texts = {}
    for ours in (INSTRUCTION, INPUT, OUTPUT):
        theirs = columns.get(ours, ours)
        if theirs not in row and (ours != INPUT or ours in columns):
            there = ", ".join(map(str, row)) or "none"
            raise ConfigError(
                f"{place} has no column “{theirs}”; columns there: {there}", f"name it: --map {ours}=COLUMN"
            )
        value = row.get(theirs)
        if value is not None and not isinstance(value, str):
            return f"{ours} is not a text"
        texts[ours] = value or ""
        if not _is_unicode(texts[ours]):
            return f"{ours} is not Unicode"
    for ours in (INSTRUCTION, OUTPUT):
        if not texts[ours].strip():
            return f"empty {ours}"
    prompt = texts[INSTRUCTION]
    if texts[INPUT].strip():
        prompt += f"\n\n### Input:\n{texts[INPUT]}"
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": texts[OUTPUT]}]


def _is_unicode(text: str) -> bool:
    """JSON can hold half a surrogate pair, which is no character and which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normalised(text: str) -> str:
    """The text without what does not make it another text: case, white space, Unicode's forms."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
