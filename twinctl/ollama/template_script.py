"""What a chat template writes between one message and the next, learnt by showing it talks.

Nobody can read any Jinja; but most templates only write something before, between and behind the contents, and what
that is depends on the two roles beside it. Then talks of unmistakable contents show all of it.

What must stay true: a template that cannot be told in this way is refused, never approximated; what a template itself
refuses (a system message, tools) is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from twinctl.errors import ConfigError
from twinctl.ollama.chat_format import Chat

Talk = tuple[str, ...]
Pair = tuple[str, str]
START, OPENING, ASKED = "", "opening", "asked"
SYSTEM = "system"
WITH_SYSTEM = "a system message"
_LETTERS = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def _talks(*words: str) -> tuple[Talk, ...]:
    return tuple(tuple(_LETTERS[letter] for letter in word) for word in words)


NEEDED = _talks("u", "uau", "uauau")
# By what they have beside questions and answers. Ollama itself joins messages of one role that follow one another, and
# drops the oldest ones of a talk that has become too long.
OPTIONAL = {
    WITH_SYSTEM: _talks("su", "suau", "suauau"),
    "nothing but a system message": _talks("s"),
    "a system message later on": _talks("uasu", "usau", "usu", "uas", "us", "suasu"),
    "an answer before the first question": _talks("au", "auau", "sau"),
    "the results of tools": _talks("uat", "uatt", "uatau", "suatau"),
}


@dataclass(frozen=True)
class Gap:
    """What stands before a content. `told` stands there instead where the content holds `word`."""

    text: str
    word: str = ""
    told: str = ""


@dataclass(frozen=True)
class Script:
    """`gaps` by the kinds of the messages beside them: a role, START before the first one and ASKED behind the last;
    a system message that comes first is an OPENING. `trimmed` are the kinds whose contents lose the white space around
    them. `talks` are the forms of talk that this is true for; `without` names what the template does not take.
    `loose` are words that, in a content, make it write that talk in another way still.
    """

    gaps: Mapping[Pair, Gap]
    trimmed: frozenset[str]
    talks: tuple[Talk, ...]
    without: tuple[str, ...]
    loose: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds of messages that are written, in the order in which a reader expects them."""
        known = {after for _, after in self.gaps}
        return [kind for kind in (OPENING, *_LETTERS.values()) if kind in known]


class _Irregular(Exception):
    """The text of a talk is no row of gaps and contents."""


@lru_cache(maxsize=4)
def learn(chat: Chat) -> Script:
    """Raises ConfigError for a template that is no row of gaps and contents."""
    found: dict[Pair, str] = {}
    talks: list[Talk] = []
    without: list[str] = []
    for name, forms in {"": NEEDED, **OPTIONAL}.items():
        taken = _taken(chat, name, forms, found)
        if taken is None:
            without.append(name)
        else:
            found |= taken
            talks += forms
    gaps, loose = _with_words(chat, talks, found)
    return Script(gaps, _trimmed(chat, talks), tuple(talks), tuple(without), tuple(loose))


def _taken(chat: Chat, name: str, forms: tuple[Talk, ...], known: Mapping[Pair, str]) -> dict[Pair, str] | None:
    """The gaps of these talks; None where the template refuses them, passes over them, or treats each in its own way
    and they are rare.
    """
    try:
        return _gaps_of(chat, forms, known)
    except ConfigError:
        if not name:
            raise
        return None
    except _Irregular as error:
        if name == WITH_SYSTEM and _passes_over_system(chat):
            return None
        if name in ("", WITH_SYSTEM):
            raise _refused(str(error)) from error
        return None


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"the chat template cannot be told to Ollama: {why}",
        "leave out --ollama and let LM Studio or llama.cpp run the GGUF file, which has the Jinja itself;"
        " or begin again with `twinctl prepare --template alpaca` or chatml",
    )


def _gaps_of(chat: Chat, forms: Sequence[Talk], known: Mapping[Pair, str]) -> dict[Pair, str]:
    found = dict(known)
    for talk in forms:
        for pair, text in zip(pairs(talk), _cut(chat, talk, _plain(talk)), strict=True):
            if found.setdefault(pair, text) != text:
                raise _Irregular(f"between {_name(pair)} it writes {found[pair]!r} in one talk, {text!r} in another")
    return found


def kinds(talk: Talk) -> list[str]:
    """The kind of each message."""
    return [OPENING if role == SYSTEM and not place else role for place, role in enumerate(talk)]


def pairs(talk: Talk) -> list[Pair]:
    """The kinds beside each gap, the one before the first message and the one before the asked answer among them."""
    row = [START, *kinds(talk), ASKED]
    return list(pairwise(row))


def _name(pair: Pair) -> str:
    return f"{pair[0] or 'the start'} and {pair[1]}"


def _plain(talk: Talk) -> list[str]:
    return [f"twinctl{place}content" for place in range(len(talk))]


def _cut(chat: Chat, talk: Talk, contents: list[str]) -> list[str]:
    """What stands before, between and behind the contents. Raises _Irregular where they are not as they were given."""
    rest, gaps = chat.prompt(messages_of(talk, contents)), []
    for place, content in enumerate(contents):
        gap, found, rest = rest.partition(content)
        if not found or content in rest:
            raise _Irregular(f"of {' '.join(talk)} it changes, repeats or leaves out the content of number {place + 1}")
        gaps.append(gap)
    return [*gaps, rest]


def messages_of(talk: Talk, contents: Sequence[str]) -> list[dict[str, str]]:
    """The talk with these contents."""
    return [{"role": role, "content": content} for role, content in zip(talk, contents, strict=True)]


def _passes_over_system(chat: Chat) -> bool:
    (talk,) = _talks("suauau")
    messages = messages_of(talk, _plain(talk))
    return chat.prompt(messages) == chat.prompt(messages[1:])


def _places(talks: Sequence[Talk]) -> list[tuple[Talk, int]]:
    """Every message of every talk."""
    return [(talk, place) for talk in talks for place in range(len(talk))]


def _changed(talk: Talk, place: int, change: Callable[[str], str]) -> list[str]:
    """The plain contents, one of them changed."""
    return [change(content) if at == place else content for at, content in enumerate(_plain(talk))]


def _trimmed(chat: Chat, talks: Sequence[Talk]) -> frozenset[str]:
    """Raises ConfigError for a template that takes some of the white space around a content away, but not all."""
    found: dict[str, bool] = {}
    for talk, place in _places(talks):
        kind, plain = kinds(talk)[place], _plain(talk)
        spaced = _changed(talk, place, lambda content: f"\n \t{content}\t \n")
        text, usual = chat.prompt(messages_of(talk, spaced)), chat.prompt(messages_of(talk, plain))
        kept = usual.replace(plain[place], spaced[place])
        if text not in (usual, kept) or found.setdefault(kind, text == usual) != (text == usual):
            raise _refused(f"it takes some of the white space around a content ({kind}) away, but not all")
    return frozenset(kind for kind, is_trimmed in found.items() if is_trimmed)


def _with_words(chat: Chat, talks: Sequence[Talk], found: Mapping[Pair, str]) -> tuple[dict[Pair, Gap], list[str]]:
    """The gaps, and which of them look for a word in the content behind them; the words that do more than that."""
    gaps, loose = {pair: Gap(text) for pair, text in found.items()}, []
    for word in _words(chat.template.text):
        try:
            told = _told(chat, talks, found, word)
        except (_Irregular, ConfigError):
            loose.append(word)
            continue
        if any(gaps[pair].word for pair in told):
            loose.append(word)
        else:
            gaps |= {pair: Gap(found[pair], word, text) for pair, text in told.items()}
    return gaps, loose


def _told(chat: Chat, talks: Sequence[Talk], found: Mapping[Pair, str], word: str) -> dict[Pair, str]:
    """The gaps that a content with the word has before it, where they are not the usual ones."""
    told: dict[Pair, str] = {}
    for talk, place in _places(talks):
        pair, usual = pairs(talk)[place], [found[pair] for pair in pairs(talk)]
        for change in _holding(word):
            contents = _changed(talk, place, change)
            cut = _cut(chat, talk, contents)
            wanted = told.setdefault(pair, cut[place]) if word in contents[place] else usual[place]
            if cut != [*usual[:place], wanted, *usual[place + 1 :]]:
                raise _Irregular(word)
    return {pair: text for pair, text in told.items() if text != found[pair]}


def _holding(word: str) -> list[Callable[[str], str]]:
    """Contents with the word: amid, and without its own white space at either end."""
    bare = word.strip()
    return [
        lambda content: f"{content} {word} {content[::-1]}",
        lambda content: f"{bare} {content}",
        lambda content: f"{content} {bare}",
    ]


@lru_cache(maxsize=8)
def _words(template: str) -> tuple[str, ...]:
    """The texts that a template has between quotes: what it looks for in contents is one of them."""
    from jinja2 import Environment

    quoted = (value[1:-1] for _, kind, value in Environment().lex(template) if kind == "string")
    found = (text.encode("ascii", "backslashreplace").decode("unicode-escape") for text in quoted)  # as Jinja does
    return tuple(dict.fromkeys(text for text in found if text.strip()))
