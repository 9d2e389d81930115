"""train: prepared tokens and the pinned base model → an adapter, or a whole model by method full."""

from __future__ import annotations

import os
from typing import TypeAlias

from pydantic import ValidationError

from twinctl.config.resolve import Values
from twinctl.config.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.data.tokens import TRAIN
from twinctl.engine.training_inputs import TrainInputs
from twinctl.errors import ConfigError, UpstreamError
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.artifact import Record

TrainPlan: TypeAlias = Plan[TrainRecipe, TrainOptions, TrainInputs]
SHAPE = ("method", "rank", "alpha", "bias", "target_modules", "rslora", "dora")  # of an adapter, once it is made


def plan(view: RunView, values: Values, trained_from: RunView | None = None) -> TrainPlan:
    """The request over the run's tokens and base model; with `trained_from`, on from what that run's training made.

    Raises UpstreamError when they are not there or do not fit, ConfigError for a bad recipe.
    """
    tokens = view.need(Kind.TOKENS)
    view.require_current(tokens.record)
    if not (tokens.out / f"{TRAIN}.arrow").is_file():
        raise UpstreamError(
            f"run “{view.name}” was pulled from the Hub, and the rows it was trained on stayed where they were",
            f"train on from it, on new writing: twinctl prepare --run NEW -d FILE --model {view.base.locator}, "
            f"then: twinctl train --run NEW --from {view.name}",
        )
    base = view.base
    base.check(view.memo, view.name)
    parent = _parent(view, trained_from) if trained_from else None
    recipe, options = settings(_like(values, parent.record, trained_from.name) if parent and trained_from else values)

    def resolve_inputs() -> TrainInputs:
        from twinctl.planning.forecast import forecast

        expected = forecast(view, made)  # refuses before anything is downloaded
        return TrainInputs(
            tokens=tokens.out.resolve(),
            info=tokens.tokens_info(),
            base=base.folder(weights=True),
            base_name=base.public_name,
            forecast=expected.document,
            parent=parent.out.resolve() if parent else None,
        )

    size = "full" if recipe.method == "full" else f"{recipe.method}-r{recipe.rank}"
    made: TrainPlan = Plan(
        phase=PHASE,
        slot="train",
        slug=f"{size}-{base.name}",
        produces="model" if recipe.method == "full" else "adapter",
        recipe=recipe,
        origins=dict(values.origins),
        inputs={
            "tokens": tokens.digest,
            "base": base.digest,
            **({"parent": parent.digest} if parent else {}),
        },
        parents={"tokens": tokens.path, **({"parent": parent.path} if parent else {})},
        options=options,
        resolve_inputs=resolve_inputs,
    )
    return made


def settings(values: Values) -> tuple[TrainRecipe, TrainOptions]:
    """Recipe and options. Raises ConfigError for values that are wrong or do not go together."""
    recipe, options = values.build(TrainRecipe), values.build(TrainOptions)
    try:
        TrainSettings(recipe=recipe, options=options)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"train: {message}", "change --batch-size or --micro-batch") from error
    if options.tracking == "comet" and not os.environ.get("COMET_API_KEY"):
        raise ConfigError("--tracking comet needs COMET_API_KEY", "put it into .env, or use --tracking comet-offline")
    return recipe, options


def _parent(view: RunView, trained_from: RunView) -> Result:
    """What the other run's training made. Raises UpstreamError when that is none, or of another base model."""
    if trained_from.base.digest != view.base.digest:
        raise UpstreamError(
            f"run “{trained_from.name}” was trained on another base model than run “{view.name}” has",
            f"prepare on that one: twinctl prepare --run {view.name} --model {trained_from.base.locator}",
        )
    return trained_from.trained()


def _like(values: Values, parent: Record, trained_from: str) -> Values:
    """The values with the parent's shape, which an adapter cannot change. Raises ConfigError for a flag that would."""
    shape = {name: parent.recipe[name] for name in SHAPE if name in parent.recipe}
    for name, value in shape.items():
        given = values.values.get(name)
        if values.origins.get(name) == "flag" and given != value:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} {given} contradicts what run “{trained_from}” trained ({value})", f"leave out {flag}"
            )
    origins = dict.fromkeys(shape, f"run {trained_from}")
    return Values(values.section, {**values.values, **shape}, {**values.origins, **origins})


def run(attempt: Attempt[TrainRecipe, TrainOptions, TrainInputs]) -> Produced:
    """Train in the real stack: see engine.training."""
    from twinctl.engine.training import train

    return train(attempt)


PHASE = Phase(
    "train",
    2,
    "train",
    TrainRecipe,
    TrainOptions,
    TrainInputs,
    run,
    makes=("adapter", "model"),
    in_worker=True,
    section="train",
)
