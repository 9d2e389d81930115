"""An interpreter of the part of Go's text/template that go_write uses: what Ollama writes by a Modelfile's template.

Two steps: `_parsed` makes a tree of nodes from the actions between {{ and }}; `rendered` runs it, with a stack of what
is still to run. template_script has a worked example.

What must stay true: for these actions it does what Go does. Strings are bytes, as in Go.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinctl.errors import CheckFailed

_ACTION = re.compile(r'\{\{ ((?:[^"{}]|"(?:[^"\\]|\\.)*")*) \}\}')
_WORD = re.compile(r'[()]|"(?:[^"\\]|\\.)*"|[^\s()"]+')
Value = Any  # bytes, an integer, a truth value, or what `range` iterates over


@dataclass
class _Node:
    """One action: its first word, its arguments, and the actions `inside` it and in its else branch (`other`)."""

    word: str
    words: Sequence[Any] = ()
    inside: list[_Node] = field(default_factory=list)
    other: list[_Node] = field(default_factory=list)


def rendered(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """What Ollama writes for these messages. Raises CheckFailed for an action that go_write does not use."""
    program, defined = _parsed(template)
    encoded = [{f".{name.title()}": text.encode() for name, text in message.items()} for message in messages]
    dot = {".Messages": encoded}
    written: list[bytes] = []
    # A stack and no recursion: a template that calls itself for each byte goes deeper than Python can.
    ahead: list[tuple[_Node, Any, dict[str, Value]]] = []
    _push(ahead, program, dot, {})
    while ahead:
        node, dot, names = ahead.pop()
        match node.word:
            case "text":
                written.append(node.words[0])
            case "write":
                written.append(_value(node.words, dot, names))
            case "set":
                names[node.words[0]] = _value(node.words[1], dot, names)
            case "if":
                _push(ahead, node.inside if _value(node.words, dot, names) else node.other, dot, names)
            case "range":
                for item in reversed(_value(node.words, dot, names)):
                    _push(ahead, node.inside, item, names)
            case "template":
                _push(ahead, defined[node.words[0]], _value(node.words[1], dot, names), {})
    return b"".join(written).decode()


def _push(ahead: list[Any], nodes: Sequence[_Node], dot: Any, names: dict[str, Value]) -> None:
    ahead.extend((node, dot, names) for node in reversed(nodes))


def _parsed(template: str) -> tuple[list[_Node], dict[str, list[_Node]]]:
    """The program, and the templates that it defines."""
    defined: dict[str, list[_Node]] = {}
    program = into = list[_Node]()
    unclosed: list[tuple[list[_Node], _Node]] = []  # the list that continues after its end, and the action itself
    for words in _actions(template):
        match words:
            case ["text", piece]:
                into.append(_Node("text", [piece.encode()]))
            case ["define", name]:
                unclosed.append((into, _Node("define")))
                into = defined.setdefault(literal_eval(name), [])
            case ["if" | "range" as word, *when]:
                into.append(_Node(word, _tree(when)))
                unclosed.append((into, into[-1]))
                into = into[-1].inside
            case ["else", "if", *when]:
                after, node = unclosed.pop()
                node.other.append(_Node("if", _tree(when)))
                unclosed.append((after, node.other[0]))
                into = node.other[0].inside
            case ["else"]:
                into = unclosed[-1][1].other
            case ["end"]:
                into, _ = unclosed.pop()
            case ["template", name, *argument]:
                into.append(_Node("template", [literal_eval(name), _tree(argument)]))
            case [name, ":=" | "=", *value]:
                into.append(_Node("set", [name, _tree(value)]))
            case _:
                into.append(_Node("write", _tree(words)))
    return program, defined


def _actions(template: str) -> Iterator[list[str]]:
    """The words of each action; a text between two is ["text", it]."""
    for index, piece in enumerate(_ACTION.split(template)):
        if index % 2:
            yield _WORD.findall(piece)
        elif "{{" in piece:
            raise CheckFailed(f"the Modelfile's template has an action that is not understood: {piece[:80]!r}")
        elif piece:
            yield ["text", piece]


def _tree(words: Sequence[str]) -> list[Any]:
    """A call: its words, where those between brackets are calls of their own and constants are values."""
    calls: list[list[Any]] = [[]]
    for word in words:
        if word == "(":
            calls.append([])
        elif word == ")":
            inner = calls.pop()
            calls[-1].append(inner)
        elif word.startswith('"'):
            calls[-1].append(literal_eval(word).encode())
        else:
            calls[-1].append(int(word) if word.isdecimal() else word)
    return calls[0]


def _value(call: Sequence[Any], dot: Any, names: Mapping[str, Value]) -> Value:
    name, *rest = call
    if not rest:
        return _of(name, dot, names)
    if name == "and":  # the second is not evaluated where the first is false
        first = _of(rest[0], dot, names)
        return first and _of(rest[1], dot, names)
    if name not in _FUNCTIONS:
        raise CheckFailed(f"the Modelfile's template calls what is not understood: {name}")
    return _FUNCTIONS[name](*(_of(word, dot, names) for word in rest))


def _of(word: Any, dot: Any, names: Mapping[str, Value]) -> Value:
    if isinstance(word, list):
        return _value(word, dot, names)
    if isinstance(word, (bytes, int)):
        return word
    if word == ".":
        return dot
    try:
        return names[word] if word.startswith("$") else dot[word]
    except (KeyError, TypeError) as error:
        raise CheckFailed(f"the Modelfile's template has a word that is not understood: {word}") from error


def _slice(text: bytes, start: int, stop: int | None = None) -> bytes:
    end = len(text) if stop is None else stop
    if not 0 <= start <= end <= len(text):
        raise CheckFailed(f"the Modelfile's template slices {len(text)} bytes from {start} to {end}")
    return text[start:end]


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "eq": lambda first, *others: first in others,
    "lt": lambda first, second: first < second,
    "ge": lambda first, second: first >= second,
    "len": len,
    "slice": _slice,
}
