"""What is known of a training besides its memory: steps and tokens, the pace of earlier ones, download and disk.

What must stay true: nothing is downloaded to find out, and a Hub that cannot be asked is a remark, not a failure.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twinctl.config.train import TrainRecipe, TrainSettings
from twinctl.errors import HubError, UpstreamError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import AnyPlan
from twinctl.wording import GIB
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.disk import free_bytes
from twinctl.workspace.workspace import Workspace

if TYPE_CHECKING:
    from twinctl.planning.memory import Choice

HALF = 2  # bytes a number
Q4_K_M = 4.85 / 8  # bytes a parameter, on average


@dataclass(frozen=True)
class Disk:
    """Bytes on the workspace's disk: free now, for the checkpoints and the result, for what export makes of it."""

    free: int
    checkpoints: int
    result: int
    merged: int
    gguf_q4_k_m: int


def steps_and_tokens(recipe: TrainRecipe, tokens: Result, max_length: int) -> tuple[int, int, int | None]:
    """Steps in all and per epoch, and the real tokens of all steps. 0, 0 and None where the tokens do not tell."""
    rows = tokens.record.metrics.get("packed_rows" if recipe.packing else "train_rows")
    if rows is None:
        return 0, 0, None
    steps, an_epoch = recipe.steps(rows)
    steps = min(steps, recipe.stop_at or steps)
    measured = tokens.nearest(lambda record: "packing_efficiency" in record.metrics)
    if measured is None:
        return steps, an_epoch, None
    known = measured.record.metrics
    one_epoch = known["packed_rows"] * max_length * known["packing_efficiency"]
    return steps, an_epoch, round(one_epoch * steps / an_epoch)


def pace(workspace: Workspace, plan: AnyPlan, device: str, choice: Choice) -> float | None:
    """Tokens a second of the training here that was most like this one: same base, method and device."""
    paces: list[tuple[bool, bool, float, float]] = []
    for folder in (workspace.root / "artifacts" / plan.phase.name).glob("*"):
        with suppress(UpstreamError, OSError, KeyError):
            if (known := _paces(Artifact(folder), plan, device, choice)) is not None:
                paces.append(known)
    return max(paces)[-1] if paces else None


def _paces(artifact: Artifact, plan: AnyPlan, device: str, choice: Choice) -> tuple[bool, bool, float, float] | None:
    """How like this one an earlier training is, best first, and its tokens a second; None for a quite different one."""
    record = artifact.record()
    if record is None or record.inputs.get("base") != plan.inputs["base"]:
        return None
    facts = next((line for line in reversed(artifact.attempts()) if "device_name" in line), None)
    pace = record.metrics.get("tokens_per_second")
    if not pace or facts is None or facts["device_name"] != device:
        return None
    if record.recipe.get("method") != plan.recipe.method:
        return None
    alike = facts.get("gradient_checkpointing") == choice.checkpointing
    return alike, facts.get("micro_batch") == choice.micro_batch, record.created, float(pace)


def to_download(base: BaseCheckpoint, parameters: int) -> tuple[int, list[str]]:
    """Bytes of the base's weights that are still on the Hub, and what stands in their way."""
    if base.local is not None or not base.repo or not base.sha:
        return 0, []
    from huggingface_hub.constants import HF_HUB_CACHE

    from twinctl.hub.client import repo_info
    from twinctl.hub.failures import Target
    from twinctl.hub.models import cached_folder

    target = Target("model", base.repo, base.sha)
    if cached_folder(target, weights=True) is not None:
        return 0, []
    try:
        files = repo_info(target, files=True).siblings or []
    except HubError as error:
        return parameters * HALF, [f"the base is not here yet, and cannot be fetched: {error.message} {error.hint}"]
    size = sum(file.size or 0 for file in files if file.rfilename in base.files)
    free = free_bytes(Path(HF_HUB_CACHE))
    if size <= free:
        return size or parameters * HALF, []
    remark = f"the base's {size / GIB:.1f} GiB do not fit on the Hub cache's disk, which has {free / GIB:.1f} GiB"
    return size, [remark]


def disk_needs(workspace: Workspace, settings: TrainSettings, parameters: int, choice: Choice) -> Disk:
    """While a new checkpoint is written all the kept ones are still there."""
    memory = choice.memory
    state = (memory.optimizer if memory else 0.0) * GIB
    is_full = settings.recipe.method == "full"
    result = parameters * HALF if is_full else (memory.adapters if memory else 0.0) * GIB
    return Disk(
        free=free_bytes(workspace.root),
        checkpoints=round((settings.options.keep + 1) * (result + state)),
        result=round(result),
        merged=0 if is_full else parameters * HALF,
        gguf_q4_k_m=round(parameters * Q4_K_M),
    )
