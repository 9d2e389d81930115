"""The tables of the page `settings`, made from the recipes: `python -m twinctl.docs.settings` rewrites them.

What must stay true: the page's tables are exactly what `page_of` makes of the recipes and presets of the code. A test
compares them. The text around the tables is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from twinctl.config import presets
from twinctl.config.export import ExportOptions
from twinctl.config.prepare import DataSource, PrepareOptions, PrepareRecipe
from twinctl.config.sampling import Sampling
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.docs.topics import FOLDER, text_of

# The tables by their names in the page: the section of twinctl.toml, and the model whose fields it has.
TABLES: dict[str, tuple[str, type[BaseModel]]] = {
    "prepare-recipe": ("prepare", PrepareRecipe),
    "prepare-options": ("prepare", PrepareOptions),
    "prepare-data": ("prepare.data", DataSource),
    "train-recipe": ("train", TrainRecipe),
    "train-options": ("train", TrainOptions),
    "export-options": ("export", ExportOptions),
    "chat-options": ("chat", Sampling),
}
MARKED = re.compile(r"<!-- table: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "null": "unset"}


def page_of(text: str) -> str:
    """The page with its tables made from the present code."""
    return MARKED.sub(lambda mark: f"<!-- table: {mark[1]} -->\n{table(*TABLES[mark[1]])}\n<!-- end -->", text)


def table(section: str, model: type[BaseModel]) -> str:
    """The model's fields as a Markdown table, with the presets' values where they are not the defaults."""
    schema = model.model_json_schema()
    lines = ["| field | values | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in schema["properties"].items():
        cells = (f"`{name}`", _values(field), _default(section, name, field), field["description"].replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _values(field: Mapping[str, Any]) -> str:
    """What a field may hold, from its JSON schema."""
    if "anyOf" in field:
        return ", or ".join(_values(each) for each in field["anyOf"])
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        choices = field["items"].get("enum", ())
        return "list of " + (", ".join(f"`{value}`" for value in choices) or "texts")
    bounds = [f"{sign} {field[name]:g}" for name, sign in BOUNDS.items() if name in field]
    return " ".join([KINDS[field["type"]], ", ".join(bounds)]).strip()


def _default(section: str, name: str, field: Mapping[str, Any]) -> str:
    """The recipe's default, then what a preset sets instead."""
    own = [_written(field["default"])] if "default" in field else []
    return "; ".join([*own, *_preset_values(section, name)]) or "required"


def _preset_values(section: str, name: str) -> Iterator[str]:
    for preset in presets.NAMES:
        values = presets.preset(preset).get(section, {})
        if name in values:
            yield f"{preset}: {_written(values[name])}"


def _written(value: Any) -> str:
    """A value as it is written in twinctl.toml."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return ", ".join(_written(each) for each in value) or "empty"
    return f"`{value}`" if value != "" else "empty"


def main() -> None:
    """Rewrite the page's tables."""
    (FOLDER / "settings.md").write_text(page_of(text_of("settings")), encoding="utf-8")


if __name__ == "__main__":
    main()
