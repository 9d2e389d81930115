"""The tables of the page `settings`, made from the recipes: `python -m twinctl.docs.settings` rewrites them.

What must stay true: the page's tables are exactly what `page_of` makes of the recipes and presets of the code. A test
compares them. The text around the tables is written by hand.
"""

from __future__ import annotations

import re

from pydantic import BaseModel

from twinctl.config.describe import default_text, values_text
from twinctl.config.export import ExportOptions
from twinctl.config.prepare import DataSource, PrepareOptions, PrepareRecipe
from twinctl.config.recipe import schema_of
from twinctl.config.sampling import Sampling
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.docs.topics import FOLDER, page_text

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


def page_of(text: str) -> str:
    """The page with its tables made from the present code."""
    return MARKED.sub(lambda mark: f"<!-- table: {mark[1]} -->\n{fields_table(*TABLES[mark[1]])}\n<!-- end -->", text)


def fields_table(section: str, model: type[BaseModel]) -> str:
    """The model's fields as a Markdown table, with the presets' values where they are not the defaults."""
    lines = ["| field | values | default | meaning |", "| --- | --- | --- | --- |"]
    for name, schema in schema_of(model).items():
        default = default_text(section, name, schema) or "required"
        cells = (f"`{name}`", values_text(schema), default, schema["description"].replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Rewrite the page's tables."""
    (FOLDER / "settings.md").write_text(page_of(page_text("settings")), encoding="utf-8")


if __name__ == "__main__":
    main()
