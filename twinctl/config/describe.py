"""A field in words: what it may hold and what it is by default, for `--help` and for the manual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinctl.config import presets

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "null": "unset"}


def values_text(schema: Mapping[str, Any]) -> str:
    """What a field may hold, from its JSON schema: “integer ≥ 1, ≤ 4096”; names are in backticks."""
    if "anyOf" in schema:
        return ", or ".join(values_text(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        choices = schema["items"].get("enum", ())
        return "list of " + (", ".join(f"`{value}`" for value in choices) or "texts")
    return " ".join([KINDS[schema["type"]], range_text(schema)]).strip()


def range_text(schema: Mapping[str, Any]) -> str:
    """The bounds of a number, from its JSON schema: “≥ 1, ≤ 4096”; empty where it has none."""
    parts = [schema, *schema.get("anyOf", ())]
    return ", ".join(f"{sign} {part[name]:g}" for part in parts for name, sign in BOUNDS.items() if name in part)


def default_text(section: str, name: str, schema: Mapping[str, Any]) -> str:
    """The recipe's default, then what a preset sets instead: “`16`; preset tiny: `4`”; empty where there is neither."""
    texts = [written(schema["default"])] if "default" in schema else []
    for preset in presets.NAMES:
        values = presets.preset(preset).get(section, {})
        if name in values and values[name] != schema.get("default"):
            texts.append(f"preset {preset}: {written(values[name])}")
    return "; ".join(texts)


def written(value: Any) -> str:
    """A value as it is written in twinctl.toml."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(each) for each in value) or "empty"
    return f"`{value}`" if value != "" else "empty"
