"""A script (see template_script, with a worked example) as a template of Go's text/template, which Ollama runs.

What must stay true: it writes the script's text to the byte, also where a content has to be trimmed or searched; no
text of the Jinja can end up as an action. Nothing here needs a newer Go than 1.18: a loop over a string's
length would, a template that calls itself does not. Go ends such calls at 100,000: a longer content to search is an
error there, never another text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from twinctl.ollama.template_script import ASKED, OPENING, START, SYSTEM, Pair, Script, Separator

# What Python's str.strip removes, and so Jinja's trim.
_SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
# A brace could open an action, three quotes end the Modelfile's text, and Ollama drops what cannot be printed.
_UNSAFE = re.compile(r'\{+|"{3,}|(?:[^\S\n ]|[^\s -~])+')


def go_template(script: Script) -> str:
    """The Go template that writes what the script says, up to where the answer begins."""
    words = [separator for separator in dict.fromkeys(script.separators.values()) if separator.keyword]
    names = {separator: f"before{number}" for number, separator in enumerate(words, 1)}
    defined = [_define("trim", _trim())] if script.trimmed else []
    defined += [_define(name, _search(separator, name)) for separator, name in names.items()]
    branches = []
    for kind in script.kinds:
        before = _separator(_befores(script.separators, kind), names)
        content = '{{ template "trim" .Content }}' if kind in script.trimmed else "{{ .Content }}"
        branches.append((_condition(script, kind), f"{before}{content}{{{{ $before = {literal(kind)} }}}}"))
    asked = _befores(script.separators, ASKED)
    body = f'{{{{ $before := "" }}}}{{{{ range .Messages }}}}{_branches(branches)}{{{{ end }}}}'
    asks = _branches([(_eq("$before", asked), _separator(asked, names))])
    return "".join(defined) + body + asks


def _define(name: str, body: str) -> str:
    return f"{{{{ define {literal(name)} }}}}{body}{{{{ end }}}}"


def _branches(branches: Sequence[tuple[str, str]]) -> str:
    words = (f"{{{{ {'else ' if place else ''}if {when} }}}}{body}" for place, (when, body) in enumerate(branches))
    return "".join(words) + "{{ end }}"


def _eq(what: str, texts: Iterable[str]) -> str:
    return " ".join(["eq", what, *map(literal, texts)])


def _befores(separators: Mapping[Pair, Separator], kind: str) -> dict[str, Separator]:
    return {before: separator for (before, after), separator in separators.items() if after == kind}


def _condition(script: Script, kind: str) -> str:
    """When a message is of this kind, and stands where the template takes it; a question is never left out."""
    befores, role = _befores(script.separators, kind), _eq(".Role", [SYSTEM if kind == OPENING else kind])
    possible = {START, *script.kinds} - {kind, *([START, OPENING] if kind == SYSTEM else [])}
    if kind == "user" or possible <= befores.keys():
        return role
    return f"and ({role}) ({_eq('$before', befores)})"


def _separator(befores: Mapping[str, Separator], names: Mapping[Separator, str]) -> str:
    """The text before a message, by the kind of the message before; what most kinds share is the else branch."""
    shared: dict[Separator, list[str]] = {}
    for before, separator in befores.items():
        shared.setdefault(separator, []).append(before)
    *rare, (usual, _) = sorted(shared.items(), key=lambda item: len(item[1]))
    written = {
        separator: f"{{{{ template {literal(names[separator])} .Content }}}}"
        if separator.keyword
        else safe(separator.text)
        for separator in shared
    }
    if not rare:
        return written[usual]
    branches = _branches([(_eq("$before", kinds), written[separator]) for separator, kinds in rare])
    return f"{branches.removesuffix('{{ end }}')}{{{{ else }}}}{written[usual]}{{{{ end }}}}"


def _search(separator: Separator, name: str) -> str:
    """A template that goes through a content, a byte at a time, until it finds the keyword or the end."""
    size = len(separator.keyword.encode())
    at_keyword = f"{{{{ else if {_eq(f'(slice . 0 {size})', [separator.keyword])} }}}}{safe(separator.alternative)}"
    again = f"{{{{ else }}}}{{{{ template {literal(name)} (slice . 1) }}}}{{{{ end }}}}"
    return f"{{{{ if lt (len .) {size} }}}}{safe(separator.text)}{at_keyword}{again}"


def _trim() -> str:
    """A template that removes one character of white space after the other, of one to three bytes, from either end."""
    steps = []
    for size in (1, 2, 3):
        spaces = [space for space in _SPACES if len(space.encode()) == size]
        for edge, rest in (
            (f"slice . 0 {size}", f"slice . {size}"),
            (f"slice . {_back(size)}", f"slice . 0 {_back(size)}"),
        ):
            when = f"and (ge (len .) {size}) ({_eq(f'({edge})', spaces)})"
            steps.append((when, f'{{{{ template "trim" ({rest}) }}}}'))
    return _branches(steps).removesuffix("{{ end }}") + "{{ else }}{{ . }}{{ end }}"


def _back(size: int) -> str:
    """Where the last bytes begin: Go's templates cannot subtract."""
    return f"(len (slice . {size}))"


def literal(text: str) -> str:
    """The text between quotes, as Go reads it."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if " " <= letter <= "~" and letter not in '"\\':
        return letter
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': "\\x22", "\\": "\\\\"}.get(letter)
    code = ord(letter)
    return short or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def safe(text: str) -> str:
    """A text as it stands between actions; what Go or Ollama would take for something else is put between quotes."""
    return _UNSAFE.sub(_quoted, text)


def _quoted(match: re.Match[str]) -> str:
    text = match.group()
    return text if text.isprintable() and text[0] not in '{"' else f"{{{{ {literal(text)} }}}}"
