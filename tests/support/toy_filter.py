"""filter: a phase between prepare and train. It makes what it builds on, tokens, and here it only copies them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from twinctl.config.recipe import Options, Recipe
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView


class FilterRecipe(Recipe):
    """What is left out."""

    without: str = "nothing"


@dataclass(frozen=True)
class FilterInputs:
    """What is copied."""

    tokens: Path


def plan(view: RunView, recipe: FilterRecipe) -> Plan[FilterRecipe, Options, FilterInputs]:
    """The request over what prepare made."""
    tokens = view.need(Kind.TOKENS, before="filter")
    return Plan(
        phase=PHASE,
        slot="filter",
        slug=f"without-{recipe.without}",
        produces="tokens",
        recipe=recipe,
        origins={},
        inputs={"tokens": tokens.digest},
        parents={"tokens": tokens.path},
        options=Options(),
        resolve_inputs=lambda: FilterInputs(tokens.out.resolve()),
    )


def run(attempt: Attempt[FilterRecipe, Options, FilterInputs]) -> Produced:
    """Copy, and say so in a file."""
    shutil.copytree(attempt.inputs.tokens, attempt.out, dirs_exist_ok=True)
    (attempt.out / "filtered.txt").write_text(str(attempt.recipe))
    return Produced(metrics={"left_out": 0})


PHASE = Phase("filter", 1, "filter", FilterRecipe, Options, FilterInputs, run, makes=("tokens",))
