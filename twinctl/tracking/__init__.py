"""Comet ML, when there is a key for it: a second place for the metrics that `events.jsonl` always has.

What must stay true: tracking never breaks or stalls a training, and sends nothing but the run's name, its parameters
and its metrics. Importing this package does not import comet_ml.
"""

from twinctl.tracking.comet import CometRun, new_experiment_key, start
from twinctl.tracking.environment import prepare_environment

__all__ = ["CometRun", "new_experiment_key", "prepare_environment", "start"]
