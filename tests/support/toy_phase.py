"""A phase that only writes its text to a file: small enough to be killed at every change it makes on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from twinctl.config.recipe import Options, Recipe
from twinctl.pipeline.execute import Outcome, execute
from twinctl.pipeline.phase import AnyAttempt, AnyPlan, Attempt, NoInputs, Phase, Plan, Produced
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.workspace import Workspace

RUN = "a-run"


class ToyRecipe(Recipe):
    text: str = "hello"
    times: int = Field(3, ge=1)


class ToyOptions(Options):
    workers: int = 1


class Toy:
    """The phase, how often it ran, and what a test wants to happen before it writes."""

    def __init__(self) -> None:
        self.calls = 0
        self.before: Callable[[AnyAttempt], None] = lambda attempt: None
        self.phase = Phase("toy", 1, "toy", ToyRecipe, ToyOptions, NoInputs, self._run, makes=("text",))

    def _run(self, attempt: Attempt[ToyRecipe, ToyOptions, NoInputs]) -> Produced:
        self.calls += 1
        recipe = attempt.recipe
        (attempt.work / "checkpoint").write_text("half done")
        attempt.stage("writing")
        self.before(attempt)
        (attempt.out / "folder").mkdir()
        (attempt.out / "text.txt").write_text(recipe.text * recipe.times)
        (attempt.out / "folder" / "more.txt").write_text(recipe.text)
        return Produced(metrics={"length": len(recipe.text) * recipe.times})

    def plan(
        self, *, workers: int = 1, pins: Mapping[str, Any] | None = None, **recipe: Any
    ) -> Plan[ToyRecipe, ToyOptions, NoInputs]:
        """The request of a recipe with these fields."""
        return Plan(
            phase=self.phase,
            slot="toy",
            slug="a-toy",
            produces="text",
            recipe=ToyRecipe(**recipe),
            origins={},
            inputs={"upstream": "0" * 64},
            parents={},
            options=ToyOptions(workers=workers),
            resolve_inputs=NoInputs,
            pins=pins,
        )

    def execute(
        self, workspace: Workspace, plan: AnyPlan | None = None, *, wait: bool = False, restart: bool = False
    ) -> Outcome:
        """As a command does it."""
        return execute(workspace, RUN, plan or self.plan(), watch=lambda event: None, wait=wait, restart=restart)


def text_of(artifact: Artifact) -> str:
    """The result's text."""
    return (artifact.out / "text.txt").read_text()


def files_below(root: Path) -> dict[str, bytes]:
    """Every file's bytes by its relative name."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
