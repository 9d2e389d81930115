"""gguf: the run's 16-bit model as one GGUF file of one quantisation."""

from __future__ import annotations

from pathlib import Path

from twinctl.phases.base import Attempt, Phase, Plan, Result
from twinctl.phases.prepare import base_of
from twinctl.phases.upstream import need
from twinctl.recipes.base import Options
from twinctl.recipes.export import GgufRecipe
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def plan(workspace: Workspace, run: Run, recipe: GgufRecipe) -> Plan:
    """One file from the run's merged model. Raises UpstreamError when there is none."""
    path, model, record = need(workspace, run, "model")
    return Plan(
        phase=PHASE,
        slot=f"gguf-{recipe.quant}",
        slug=f"{recipe.quant}-{base_of(run).name}",
        produces="gguf",
        recipe=recipe,
        origins={},
        inputs={"model": record.digest},
        parents={"model": path},
        options=Options(),
        locate=lambda: {"model": str(model.out.resolve())},
    )


def run(attempt: Attempt) -> Result:
    """Write out/<name>-<quant>.gguf. Raises ConfigError for a family or tokenizer that cannot be written faithfully."""
    from twinctl.gguf import write_gguf

    recipe = attempt.recipe
    assert isinstance(recipe, GgufRecipe)
    target = attempt.out / f"{recipe.name}-{recipe.quant}.gguf"
    attempt.stage(f"writing {target.name}")
    write_gguf(
        Path(attempt.inputs["model"]),
        target,
        recipe.quant,
        name=recipe.name,
        progress=lambda done, total: attempt.event("progress", tensors=done, of=total),
    )
    return Result(metrics={"bytes": target.stat().st_size})


PHASE = Phase("gguf", 1, "export --gguf", GgufRecipe, Options, run)
