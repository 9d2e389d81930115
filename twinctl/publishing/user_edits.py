"""A card in parts, so that what a person wrote into it outlives the next push.

What must stay true: between its marks a section is ours and is rewritten; everything else stays to the letter. A
section or a YAML value that somebody took out or changed stays out or changed: a last, hidden line says what we wrote.
Rendered and merged a second time, nothing changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinctl.errors import ConfigError

_MARKED = re.compile(
    r"<!-- twinctl:begin (?P<name>[a-z-]+) -->\n"
    r"(?P<text>(?:(?!<!-- twinctl:(?:begin|end) ).)*)"
    r"<!-- twinctl:end (?P=name) -->\n?",
    re.DOTALL,
)
_LEDGER = re.compile(r"\n?<!-- twinctl:wrote (\{[^\n]*\}) -->\n?")
_HEAD = re.compile(r"\A\s*---[ \t]*\n(?P<yaml>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
# Of a card that we did not write, these describe the files and are ours; the rest of its values is the person's.
_OURS = ("base_model", "base_model_relation", "library_name", "pipeline_tag", "model-index")
_LICENCE = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class Parts:
    """A card: its YAML as text and as values, the text below, and what we wrote of both the last time."""

    yaml: str
    data: dict[str, Any]
    body: str
    sections: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    is_ours: bool = False

    @classmethod
    def of(cls, text: str) -> Parts:
        """The parts of a card's text. Raises ConfigError when its YAML cannot be read."""
        head = _HEAD.match(text)
        yaml, body = (head["yaml"].rstrip("\n"), text[head.end() :]) if head else ("", text)
        return cls(yaml, _read(yaml), _LEDGER.sub("", body), *_ledger(body))

    def text(self) -> str:
        """The card again."""
        ledger = json.dumps({"sections": self.sections, "yaml": self.values}, separators=(",", ":"))
        return f"---\n{self.yaml}\n---\n{self.body.rstrip()}\n\n<!-- twinctl:wrote {ledger} -->\n"


def composed(title: str, data: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    """A new card: title, then the sections, each between its marks."""
    blocks = []
    for name, text in sections.items():
        inside = text.strip().replace("<!-- twinctl:", "<!-- twinctl :")  # no mark of ours inside
        blocks.append(f"<!-- twinctl:begin {name} -->\n{inside}\n<!-- twinctl:end {name} -->\n")
    body = f"\n# {title}\n\n" + "\n".join(blocks)
    values = {name: _digest(value) for name, value in _units(data).items()}
    return Parts(_written(data), dict(data), body, list(sections), values).text()


def merge_with_existing(old: str, new: str) -> str:
    """The new card with everything that a person wrote into the old one, or took out of it.

    Raises ConfigError when the old card's YAML cannot be read.
    """
    if not old.strip():
        return new
    theirs, ours = Parts.of(old.replace("\r\n", "\n")), Parts.of(new)
    data = _merged_data(theirs, ours)
    yaml = theirs.yaml if data == theirs.data and list(data) == list(theirs.data) else _written(data)
    sections = list(dict.fromkeys([*theirs.sections, *ours.sections]))
    merged = Parts(yaml, data, _merged_body(theirs, ours), sections, ours.values).text()
    return merged.replace("\n", "\r\n") if "\r\n" in old else merged


def _merged_body(theirs: Parts, ours: Parts) -> str:
    new = {section["name"]: section[0] for section in _MARKED.finditer(ours.body)}
    present = {section["name"] for section in _MARKED.finditer(theirs.body)}
    body = _MARKED.sub(lambda section: new.get(section["name"], ""), theirs.body)
    before: str | None = None
    for name, block in new.items():
        if name not in present and name not in theirs.sections:
            body = _inserted(body, block, before)
            present.add(name)
        before = name if name in present else before
    return body


def _inserted(body: str, block: str, before: str | None) -> str:
    """The body with a block behind the section `before`, or at its end."""
    for section in _MARKED.finditer(body):
        if section["name"] == before:
            return f"{body[: section.end()]}\n{block}{body[section.end() :]}"
    return f"{body.rstrip()}\n\n{block}" if body.strip() else f"\n{block}"


def _merged_data(theirs: Parts, ours: Parts) -> dict[str, Any]:
    """The values of both: a person's where they are not what we wrote, else ours."""
    old, new = _units(theirs.data), _units(ours.data)
    merged: dict[str, Any] = {}
    for name in dict.fromkeys([*old, *new]):
        if theirs.is_ours:
            is_theirs = theirs.values.get(name) != (_digest(old[name]) if name in old else None)
        else:
            is_theirs = name in old and name not in _OURS
        merged |= old.get(name, {}) if is_theirs else new.get(name, {})
    return merged


def _units(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values by what belongs together: a licence, its name and its link; every other one alone."""
    units: dict[str, dict[str, Any]] = {}
    for name, value in data.items():
        units.setdefault("license" if name in _LICENCE else name, {})[name] = value
    return units


def _ledger(body: str) -> tuple[list[str], dict[str, str], bool]:
    """Sections and values that we wrote, and whether we did: not where the line is gone, or edited by hand."""
    try:
        stored = json.loads(_LEDGER.findall(body)[-1])
        return [str(name) for name in stored["sections"]], dict(stored["yaml"]), True
    except (IndexError, ValueError, KeyError, TypeError):
        return [], {}, False


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _read(yaml: str) -> dict[str, Any]:
    from yaml import YAMLError, safe_load

    try:
        values = safe_load(yaml) if yaml.strip() else {}
    except YAMLError as error:
        raise ConfigError("the card's metadata is no YAML", "fix the lines between the two --- in README.md") from error
    if not isinstance(values or {}, dict):
        raise ConfigError("the card's metadata is not a list of names and values", "fix it in README.md")
    return dict(values or {})


def _written(data: Mapping[str, Any]) -> str:
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump(dict(data), sort_keys=False)).strip()
