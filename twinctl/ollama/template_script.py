"""What a chat template writes between one message and the next, learned by rendering conversations with it.

Jinja in general cannot be translated, but most chat templates only write some text before, between and after the
contents, and that text depends on the roles of the two messages around it. Conversations whose contents cannot be
mistaken for anything else show all of it. An example, without its lines that refuse system messages and tools:

    {% for m in messages %}{{ 'Q: ' if m.role == 'user' else 'A: ' }}{{ m.content }}{{ '\\n' }}{% endfor %}
    {%- if add_generation_prompt %}A: {% endif %}

1. `learn` renders user; user, assistant, user; and so on, with the contents "twinctl0content", "twinctl1content", …,
   and cuts each text at its contents. The separators are, by the kinds of the messages around them:
   (START, user) "Q: " · (user, assistant) "\\nA: " · (assistant, user) "\\nQ: " · (user, ASKED) "\\nA: "
   It continues with the conversations of `OPTIONAL`; what this template refuses is listed in `left_out`.
2. It renders them again with white space around a content (is it trimmed?), and with each string of the Jinja source in
   a content: Alpaca writes another preamble where the question contains "### Input:".
3. `go_write.go_template` writes the separators as Go, which remembers the kind of the message before (here with line
   breaks between the branches, and \\n for one that is written):

    {{ $before := "" }}{{ range .Messages }}
    {{ if eq .Role "user" }}{{ if eq $before "" }}Q: {{ else }}\\nQ: {{ end }}{{ .Content }}{{ $before = "user" }}
    {{ else if and (eq .Role "assistant") (eq $before "user") }}\\nA: {{ .Content }}{{ $before = "assistant" }}{{ end }}
    {{ end }}{{ if eq $before "user" }}\\nA: {{ end }}

4. `go_read.rendered` runs that Go, and `modelfile.check_modelfile` compares it with the Jinja.

What must stay true: a template that cannot be expressed in this way is refused, never approximated; what a template
itself refuses (a system message, tools) is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from twinctl.errors import ConfigError
from twinctl.ollama.chat_format import ChatFormat

Roles = tuple[str, ...]
"""The form of a conversation: the role of each message."""
Pair = tuple[str, str]
"""The kinds of the two messages around a separator."""
START, OPENING, ASKED = "", "opening", "asked"
SYSTEM = "system"
WITH_SYSTEM = "a system message"
_LETTERS = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def _forms(*words: str) -> tuple[Roles, ...]:
    return tuple(tuple(_LETTERS[letter] for letter in word) for word in words)


REQUIRED = _forms("u", "uau", "uauau")
# By what they have in addition to questions and answers. Ollama itself joins messages of one role that follow one
# another, and drops the oldest ones of a conversation that has become too long.
OPTIONAL = {
    WITH_SYSTEM: _forms("su", "suau", "suauau"),
    "nothing but a system message": _forms("s"),
    "a system message later on": _forms("uasu", "usau", "usu", "uas", "us", "suasu"),
    "an answer before the first question": _forms("au", "auau", "sau"),
    "the results of tools": _forms("uat", "uatt", "uatau", "suatau"),
}


@dataclass(frozen=True)
class Separator:
    """The text before a content; `alternative` replaces it where that content contains `keyword`."""

    text: str
    keyword: str = ""
    alternative: str = ""


@dataclass(frozen=True)
class Script:
    """What a chat template writes around the contents.

    `separators`: by the kinds of the messages around them, each a role, START before the first one, or ASKED after the
    last; a system message that comes first is an OPENING. `trimmed`: the kinds whose contents lose the white space
    around them. `forms`: the conversations that this was learned from and holds for; `left_out` names those that the
    template does not take. `unsupported`: words that, in a content, change the text in another way than by a keyword.
    """

    separators: Mapping[Pair, Separator]
    trimmed: frozenset[str]
    forms: tuple[Roles, ...]
    left_out: tuple[str, ...]
    unsupported: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """The kinds of messages that are written, in the order in which a reader expects them."""
        known = {after for _, after in self.separators}
        return [kind for kind in (OPENING, *_LETTERS.values()) if kind in known]


class _Irregular(Exception):
    """The text of a conversation is no sequence of separators and contents."""


@lru_cache(maxsize=4)
def learn(chat: ChatFormat) -> Script:
    """Raises ConfigError for a template whose text is no sequence of separators and contents."""
    texts: dict[Pair, str] = {}
    learned: list[Roles] = []
    left_out: list[str] = []
    for name, forms in {"": REQUIRED, **OPTIONAL}.items():
        taken = _taken(chat, name, forms, texts)
        if taken is None:
            left_out.append(name)
        else:
            texts |= taken
            learned += forms
    separators, unsupported = _with_keywords(chat, learned, texts)
    return Script(separators, _trimmed(chat, learned), tuple(learned), tuple(left_out), tuple(unsupported))


def _taken(chat: ChatFormat, name: str, forms: tuple[Roles, ...], known: Mapping[Pair, str]) -> dict[Pair, str] | None:
    """The separators of these conversations; None for rare ones that the template refuses, ignores, or writes in no
    regular way.
    """
    try:
        return _texts_of(chat, forms, known)
    except ConfigError:
        if not name:
            raise
        return None
    except _Irregular as error:
        if name == WITH_SYSTEM and _ignores_system(chat):
            return None
        if name in ("", WITH_SYSTEM):
            raise _refused(str(error)) from error
        return None


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"the chat template cannot be expressed for Ollama: {why}",
        "leave out --ollama and let LM Studio or llama.cpp run the GGUF file, which has the Jinja itself;"
        " or start again with `twinctl prepare --template alpaca` or chatml",
    )


def _texts_of(chat: ChatFormat, forms: Sequence[Roles], known: Mapping[Pair, str]) -> dict[Pair, str]:
    texts = dict(known)
    for roles in forms:
        for pair, text in zip(pairs(roles), _cut(chat, roles, _plain(roles)), strict=True):
            if texts.setdefault(pair, text) != text:
                around = f"{pair[0] or 'the start'} and {pair[1]}"
                raise _Irregular(f"between {around} it writes {texts[pair]!r} in one conversation, {text!r} in another")
    return texts


def kinds(roles: Roles) -> list[str]:
    """The kind of each message."""
    return [OPENING if role == SYSTEM and not index else role for index, role in enumerate(roles)]


def pairs(roles: Roles) -> list[Pair]:
    """The kinds around each separator, from the one before the first message to the one before the next answer."""
    return list(pairwise([START, *kinds(roles), ASKED]))


def _plain(roles: Roles) -> list[str]:
    return [f"twinctl{index}content" for index in range(len(roles))]


def _cut(chat: ChatFormat, roles: Roles, contents: list[str]) -> list[str]:
    """The text before, between and after the contents. Raises _Irregular where a content was changed."""
    rest, texts = chat.prompt(messages_of(roles, contents)), []
    for index, content in enumerate(contents):
        text, match, rest = rest.partition(content)
        if not match or content in rest:
            raise _Irregular(
                f"of {' '.join(roles)} it changes, repeats or leaves out the content of number {index + 1}"
            )
        texts.append(text)
    return [*texts, rest]


def messages_of(roles: Roles, contents: Sequence[str]) -> list[dict[str, str]]:
    """The conversation with these contents."""
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]


def _ignores_system(chat: ChatFormat) -> bool:
    (roles,) = _forms("suauau")
    messages = messages_of(roles, _plain(roles))
    return chat.prompt(messages) == chat.prompt(messages[1:])


def _positions(forms: Sequence[Roles]) -> list[tuple[Roles, int]]:
    """Every message of every conversation."""
    return [(roles, index) for roles in forms for index in range(len(roles))]


def _changed(roles: Roles, changed: int, change: Callable[[str], str]) -> list[str]:
    """The plain contents, one of them changed."""
    return [change(content) if index == changed else content for index, content in enumerate(_plain(roles))]


def _trimmed(chat: ChatFormat, forms: Sequence[Roles]) -> frozenset[str]:
    """Raises ConfigError for a template that takes some of the white space around a content away, but not all."""
    is_trimmed: dict[str, bool] = {}
    for roles, index in _positions(forms):
        kind, plain = kinds(roles)[index], _plain(roles)
        spaced = _changed(roles, index, lambda content: f"\n \t{content}\t \n")
        text, usual = chat.prompt(messages_of(roles, spaced)), chat.prompt(messages_of(roles, plain))
        untrimmed = usual.replace(plain[index], spaced[index])
        if text not in (usual, untrimmed) or is_trimmed.setdefault(kind, text == usual) != (text == usual):
            raise _refused(f"it takes some of the white space around a content ({kind}) away, but not all")
    return frozenset(kind for kind, trims in is_trimmed.items() if trims)


def _with_keywords(
    chat: ChatFormat, forms: Sequence[Roles], texts: Mapping[Pair, str]
) -> tuple[dict[Pair, Separator], list[str]]:
    """The separators, with the keyword that some look for in the content after them; and the unsupported words."""
    separators, unsupported = {pair: Separator(text) for pair, text in texts.items()}, []
    for word in _strings(chat.template.text):
        try:
            alternatives = _alternatives(chat, forms, texts, word)
        except (_Irregular, ConfigError):
            unsupported.append(word)
            continue
        if any(separators[pair].keyword for pair in alternatives):
            unsupported.append(word)
        else:
            separators |= {pair: Separator(texts[pair], word, text) for pair, text in alternatives.items()}
    return separators, unsupported


def _alternatives(chat: ChatFormat, forms: Sequence[Roles], texts: Mapping[Pair, str], word: str) -> dict[Pair, str]:
    """The separators before a content that contains the word, where they differ from the usual ones."""
    alternatives: dict[Pair, str] = {}
    bare = word.strip()
    changes: list[Callable[[str], str]] = [  # in the middle, and without its own white space at either end
        lambda content: f"{content} {word} {content[::-1]}",
        lambda content: f"{bare} {content}",
        lambda content: f"{content} {bare}",
    ]
    for roles, index in _positions(forms):
        pair, usual = pairs(roles)[index], [texts[pair] for pair in pairs(roles)]
        for change in changes:
            contents = _changed(roles, index, change)
            cut = _cut(chat, roles, contents)
            wanted = alternatives.setdefault(pair, cut[index]) if word in contents[index] else usual[index]
            if cut != [*usual[:index], wanted, *usual[index + 1 :]]:
                raise _Irregular(word)
    return {pair: text for pair, text in alternatives.items() if text != texts[pair]}


@lru_cache(maxsize=8)
def _strings(template: str) -> tuple[str, ...]:
    """The string literals of a template: what it looks for in contents is one of them."""
    from jinja2 import Environment

    quoted = (value[1:-1] for _, kind, value in Environment().lex(template) if kind == "string")
    texts = (text.encode("ascii", "backslashreplace").decode("unicode-escape") for text in quoted)  # as Jinja does
    return tuple(dict.fromkeys(text for text in texts if text.strip()))
