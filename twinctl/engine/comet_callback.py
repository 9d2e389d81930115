"""A training's experiment on Comet: one key for all its attempts, so that a resumed training continues it."""

from __future__ import annotations

import os

from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.pipeline.phase import AnyAttempt
from twinctl.tracking import CometRun, new_experiment_key, start
from twinctl.workspace.files import read_json, write_json


def begin_tracking(attempt: AnyAttempt, recipe: TrainRecipe, options: TrainOptions) -> CometRun | None:
    """The experiment, or None when there is to be none. An archive goes to comet/attempt-N in the artifact's folder."""
    if options.tracking == "none" or (options.tracking == "auto" and not os.environ.get("COMET_API_KEY")):
        return None
    if options.tracking == "comet-offline":
        os.environ.pop("COMET_API_KEY", None)
    attempt.stage("connecting to Comet")
    folder = attempt.artifact.path
    key_file = folder / "comet.json"
    if not key_file.exists():
        write_json(key_file, {"experiment_key": new_experiment_key()})
    run = start(
        experiment_key=str(read_json(key_file)["experiment_key"]),
        project=options.project,
        name=f"{attempt.run_name} {folder.name}",
        parameters=recipe.model_dump(mode="json"),
        offline_dir=folder / "comet" / f"attempt-{attempt.number}",
    )
    attempt.event("tracking", mode=run.mode, where=run.where, warning=run.warning)
    return run
