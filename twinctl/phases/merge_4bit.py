"""merge-4bit: the merged model with its matrices in 4 bit (bitsandbytes' NF4), as transformers and vLLM load it.

What must stay true: it is rounded once, from the 16-bit merge. Merging into a base that is in 4 bit already, as is
often done, loses what was learnt in its rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinctl.config.export import Merge4bitRecipe, ProofOptions
from twinctl.phases.merge import require_merge_room
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.verification.verify_artifact import ReferenceSource, prove_4bit, reference_source
from twinctl.workspace.memo import file_sha256


@dataclass(frozen=True)
class RoundingInputs:
    """The merged model, and what the rounded one is compared with."""

    model: Path
    reference: ReferenceSource


def plan(
    view: RunView, recipe: Merge4bitRecipe, *, verify: bool = True
) -> Plan[Merge4bitRecipe, ProofOptions, RoundingInputs]:
    """The run's merged model in 4 bit. Raises UpstreamError when there is none."""
    model = view.need(Kind.MODEL)

    def resolve_inputs() -> RoundingInputs:
        model.artifact.check(file_sha256, view.name)  # what is shipped is made of what was written, to the byte
        require_merge_room(view.workspace.root, model.out)
        return RoundingInputs(model.out.resolve(), reference_source(view, model))

    return Plan(
        phase=PHASE,
        slot="merge-4bit",
        slug=f"4bit-{view.base.name}",
        produces="model-4bit",
        recipe=recipe,
        inputs={"model": model.digest},
        parents={"model": model.path},
        options=ProofOptions(verify=verify),
        resolve_inputs=resolve_inputs,
    )


def run(attempt: Attempt[Merge4bitRecipe, ProofOptions, RoundingInputs]) -> Produced:
    """Round and prove it. Raises CheckFailed, EngineError without memory."""
    from twinctl.engine.rounding import round_to_4bit

    attempt.stage("rounding the merged model to 4 bit")
    tensors = round_to_4bit(attempt.inputs.model, attempt.out)
    proof = prove_4bit(attempt, attempt.inputs.reference) if attempt.options.verify else None
    return Produced(metrics={"tensors": tensors, "proof": proof})


PHASE = Phase(
    "merge-4bit",
    1,
    "export --merged 4bit",
    Merge4bitRecipe,
    ProofOptions,
    RoundingInputs,
    run,
    makes=("model-4bit",),
    in_worker=True,
)
