"""merge: the run's adapter in its base's 16-bit weights, a model that plain transformers loads."""

from __future__ import annotations

from pathlib import Path

from twinctl.config.export import MergeRecipe, ProofOptions
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.verification.verify_artifact import prove_model
from twinctl.workspace.disk import require_room
from twinctl.workspace.memo import file_sha256


def plan(view: RunView, recipe: MergeRecipe, *, verify: bool = True) -> Plan[MergeRecipe, ProofOptions, TrainedModel]:
    """The merge of the run's adapter. Raises UpstreamError when nothing is trained, or on another base."""
    adapter, base = view.trained(), view.base
    tokens = adapter.made_from(Kind.TOKENS)
    base.check(view.memo, view.name)

    def resolve_inputs() -> TrainedModel:
        adapter.artifact.check(file_sha256, view.name)  # what is shipped is made of what was written, to the byte
        folder = base.folder(weights=True)
        require_merge_room(view.workspace.root, folder)
        return TrainedModel(folder, adapter.out.resolve(), tokens.out.resolve(), tokens.tokens_info())

    return Plan(
        phase=PHASE,
        slot="merge",
        slug=f"16bit-{base.name}",
        produces="model",
        recipe=recipe,
        inputs={"adapter": adapter.digest, "base": base.digest},
        parents={"adapter": adapter.path},
        options=ProofOptions(verify=verify),
        resolve_inputs=resolve_inputs,
    )


def require_merge_room(folder: Path, base: Path) -> None:
    """Raise ConfigError when the merged weights, as large as the base's, do not fit on the folder's disk."""
    from twinctl.planning.model_shape import weights_bytes

    hint = "free space there (twinctl clean frees what no run needs), or move the workspace to a larger disk"
    require_room(folder, weights_bytes(base), "the merged model", hint)


def run(attempt: Attempt[MergeRecipe, ProofOptions, TrainedModel]) -> Produced:
    """Merge in the real stack, see engine.merging, and prove it. Raises CheckFailed."""
    from twinctl.engine.merging import merge

    result = merge(attempt)
    proof = prove_model(attempt, attempt.inputs) if attempt.options.verify else None
    return Produced(metrics={**result.metrics, "proof": proof})


PHASE = Phase("merge", 2, "export", MergeRecipe, ProofOptions, TrainedModel, run, makes=("model",), in_worker=True)
