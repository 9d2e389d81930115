"""gguf: the run's 16-bit model as one GGUF file of one quantisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.phases.base import Attempt, Phase, Plan, Result
from twinctl.phases.base_model import base_of
from twinctl.phases.upstream import need
from twinctl.recipes.base import Options
from twinctl.recipes.export import GgufRecipe
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def plan(workspace: Workspace, run: Run, recipe: GgufRecipe) -> Plan:
    """One file from the run's merged model. Raises UpstreamError when there is none."""
    path, model, record = need(workspace, run, "model")

    def locate() -> dict[str, Any]:
        model.check(file_sha256, run.name)  # what is shipped is made of what was written, to the byte
        return {
            "model": str(model.out.resolve()),
            "base_name": base_of(run).public_name,
            "digest": record.digest,
        }

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
        locate=locate,
    )


def run(attempt: Attempt) -> Result:
    """Write out/<name>-<quant>.gguf. Raises ConfigError for a family or tokenizer that cannot be written faithfully."""
    from twinctl.gguf.writer import Provenance, write_gguf

    recipe = attempt.recipe
    assert isinstance(recipe, GgufRecipe)
    target = attempt.out / f"{recipe.name}-{recipe.quant}.gguf"
    attempt.stage(f"writing {target.name}")
    written = write_gguf(
        Path(attempt.inputs["model"]),
        target,
        recipe.quant,
        name=recipe.name,
        provenance=Provenance(base_model=attempt.inputs["base_name"], entries={"model": attempt.inputs["digest"]}),
        progress=lambda done, total: attempt.event("progress", bytes=done, of=total),
    )
    return Result(metrics={"bytes": written.size, "tensors": written.tensors, "parameters": written.parameters})


PHASE = Phase("gguf", 1, "export --gguf", GgufRecipe, Options, run, makes=("gguf",))
