"""merge: the run's adapter in its base's 16-bit weights, a model that plain transformers loads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from twinctl.config.export import MergeRecipe, ProofOptions
from twinctl.errors import ConfigError
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.lineage import made_from, tokens_info, trained
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.verification.verify_artifact import prove_model
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def plan(workspace: Workspace, run: Run, recipe: MergeRecipe, *, verify: bool = True) -> Plan:
    """The merge of the run's adapter. Raises UpstreamError when nothing is trained, or on another base."""
    adapter_path, adapter, record = trained(workspace, run)
    _, tokens, tokens_record = made_from(workspace, record, "tokens")
    base = base_of(run)
    base.check(workspace.memo, run.name)

    def resolve_inputs() -> dict[str, Any]:
        adapter.check(file_sha256, run.name)  # what is shipped is made of what was written, to the byte
        folder, info = base.folder(weights=True), tokens_info(workspace, tokens, tokens_record)
        require_room(workspace.root, folder)
        where = {"adapter": str(adapter.out.resolve()), "base": str(folder)}
        return {**where, **info, "trained": {**where, "tokens": str(tokens.out.resolve()), "info": info}}

    return Plan(
        phase=PHASE,
        slot="merge",
        slug=f"16bit-{base.name}",
        produces="model",
        recipe=recipe,
        origins={},
        inputs={"adapter": record.digest, "base": base.digest},
        parents={"adapter": adapter_path},
        options=ProofOptions(verify=verify),
        resolve_inputs=resolve_inputs,
    )


def require_room(folder: Path, base: Path) -> None:
    """Raise ConfigError when the merged weights, as large as the base's, do not fit on the folder's disk."""
    from twinctl.planning.model_shape import weights_bytes

    needed = weights_bytes(base)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder} has {free / 2**30:.1f} GiB free, the merged model needs {needed / 2**30:.1f}",
            "make room there (twinctl clean frees what no run needs), or move the workspace to a larger disk",
        )


def run(attempt: Attempt) -> Produced:
    """Merge in the real stack, see engine.merging, and prove it. Raises CheckFailed."""
    from twinctl.engine.merging import merge

    assert isinstance(attempt.options, ProofOptions)
    result = merge(attempt)
    proof = prove_model(attempt) if attempt.options.verify else None
    return Produced(metrics={**result.metrics, "proof": proof})


PHASE = Phase("merge", 2, "export", MergeRecipe, ProofOptions, run, makes=("model",), in_worker=True)
