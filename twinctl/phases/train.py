"""train: prepared tokens and the pinned base model → an adapter, or a whole model by method full."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from twinctl.errors import ConfigError
from twinctl.phases.base import Attempt, Phase, Plan, Result
from twinctl.phases.base_model import BaseModel, base_of
from twinctl.phases.stale import require_current
from twinctl.phases.upstream import need, tokens_info
from twinctl.recipes.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.settings.resolve import Values
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def plan(workspace: Workspace, run: Run, values: Values) -> Plan:
    """The request over the run's tokens and base model. Raises UpstreamError when there are none, ConfigError for a
    bad recipe.
    """
    recipe, options = values.build(TrainRecipe), values.build(TrainOptions)
    try:
        TrainSettings(recipe=recipe, options=options)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"train: {message}", "change --batch-size or --micro-batch") from error
    if options.tracking == "comet" and not os.environ.get("COMET_API_KEY"):
        raise ConfigError("--tracking comet needs COMET_API_KEY", "put it into .env, or use --tracking comet-offline")
    tokens_path, tokens, tokens_record = need(workspace, run, "tokens")
    require_current(workspace, run, tokens_record)
    base = base_of(run)
    base.check(workspace.memo, run.name)

    def locate() -> dict[str, Any]:
        return {
            "tokens": str(tokens.out.resolve()),
            **tokens_info(workspace, tokens, tokens_record),
            "base": str(_base_folder(base, options.device)),
            "base_name": base.public_name,
        }

    size = "full" if recipe.method == "full" else f"{recipe.method}-r{recipe.rank}"
    return Plan(
        phase=PHASE,
        slot="train",
        slug=f"{size}-{base.name}",
        produces="model" if recipe.method == "full" else "adapter",
        recipe=recipe,
        origins=dict(values.origins),
        inputs={"tokens": tokens_record.digest, "base": base.digest},
        parents={"tokens": tokens_path},
        options=options,
        locate=locate,
    )


def _base_folder(base: BaseModel, device: str) -> Path:
    """Where the base's files are, after the refusals that need no weights."""
    from twinctl.engine.device import refuse_early

    refuse_early(device, parameters_of(base.folder(weights=False)))
    return base.folder(weights=True)


def parameters_of(folder: Path) -> int:
    """The number of parameters that a dense decoder of this config.json has, to within a few per cent; 0 if it cannot
    be told.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
    if not hidden or not layers:
        return 0
    heads = config.get("num_attention_heads", 1)
    head = config.get("head_dim") or hidden // heads
    attention = hidden * head * 2 * (heads + (config.get("num_key_value_heads") or heads))
    mlp = 3 * hidden * config.get("intermediate_size", 4 * hidden)
    embeddings = config.get("vocab_size", 0) * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return int(layers * (attention + mlp) + embeddings)


def run(attempt: Attempt) -> Result:
    """Train in the real stack: see engine.training."""
    from twinctl.engine.training import train

    return train(attempt)


PHASE = Phase(
    "train", 1, "train", TrainRecipe, TrainOptions, run, makes=("adapter", "model"), in_worker=True, section="train"
)
