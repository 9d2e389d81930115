"""align: a phase after train, in a worker. It makes what it builds on, an adapter, and here it only copies it.

It waits until the file that TOY_GATE names is there, if one is named.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from twinctl.config.recipe import Options, Recipe
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView


class AlignRecipe(Recipe):
    """How strongly."""

    beta: float = 0.1


@dataclass(frozen=True)
class AlignInputs:
    """What is copied."""

    adapter: Path


def plan(view: RunView, recipe: AlignRecipe) -> Plan[AlignRecipe, Options, AlignInputs]:
    """The request over what train made."""
    adapter = view.need(Kind.ADAPTER, before="align")
    return Plan(
        phase=PHASE,
        slot="align",
        slug=f"beta-{recipe.beta}",
        produces="adapter",
        recipe=recipe,
        origins={},
        inputs={"adapter": adapter.digest},
        parents={"adapter": adapter.path},
        options=Options(),
        resolve_inputs=lambda: AlignInputs(adapter.out.resolve()),
    )


def run(attempt: Attempt[AlignRecipe, Options, AlignInputs]) -> Produced:
    """Copy, and say by whom."""
    shutil.copytree(attempt.inputs.adapter, attempt.out, dirs_exist_ok=True)
    (attempt.out / "aligned.txt").write_text(str(attempt.recipe))
    attempt.event("step", step=1, steps=1, loss=0.5, seconds=0.1, tokens=1)
    while (gate := os.environ.get("TOY_GATE")) and not Path(gate).exists():
        time.sleep(0.02)
    return Produced(metrics={"worker": os.getpid()})


PHASE = Phase("align", 1, "align", AlignRecipe, Options, AlignInputs, run, makes=("adapter",), in_worker=True)
