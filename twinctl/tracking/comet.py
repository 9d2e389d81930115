"""A run's experiment on Comet, or its archive on disk where Comet cannot be had.

What must stay true: `start`, `log` and `end` raise nothing and return within seconds, whatever the network or the
client does; an attempt's metrics are either on Comet or in a zip in the attempt's own directory, and `warning` says
which and why; the key's value appears nowhere (the client's log is muted because it prints a key that is refused).
"""

from __future__ import annotations

import logging
import os
import shlex
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from twinctl.tracking.environment import prepare_environment

if TYPE_CHECKING:
    from comet_ml import CometExperiment

START_SECONDS = 8.0
END_SECONDS = 20.0

T = TypeVar("T")

# Passed in code, not left to the environment: a server's settings override the environment's, and not these.
_PRIVATE: dict[str, Any] = {
    "auto_histogram_activation_logging": False,
    "auto_histogram_gradient_logging": False,
    "auto_histogram_tensorboard_logging": False,
    "auto_histogram_weight_logging": False,
    "auto_log_co2": False,
    "auto_metric_logging": False,
    "auto_output_logging": False,
    "auto_param_logging": False,
    "display_summary_level": 0,
    "log_code": False,
    "log_env_cpu": False,
    "log_env_details": False,
    "log_env_disk": False,
    "log_env_gpu": False,
    "log_env_host": False,
    "log_env_network": False,
    "log_git_metadata": False,
    "log_git_patch": False,
    "log_graph": False,
    "parse_args": False,
}


class _NotOpened(Exception):
    """Comet refused the experiment, and the client wrote the reason only to its log."""


@dataclass
class CometRun:
    """One attempt's experiment. `where` is its page when online, the archive's path when offline."""

    mode: Literal["online", "offline"]
    where: str
    warning: str | None = None
    _experiment: CometExperiment | None = field(default=None, repr=False)
    _offline_dir: Path | None = field(default=None, repr=False)

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Add metrics at a step. They are queued, never waited for."""
        if self._experiment is None:
            return
        try:
            self._experiment.log_metrics(metrics, step=step)
        except Exception as error:  # tracking must not end a training
            self.warning = f"Comet did not take the metrics of step {step}: {_why(error)}."

    def end(self) -> None:
        """Deliver what is queued, or give up after END_SECONDS. A second call does nothing.

        An archive is complete only after this: a process that is killed leaves an empty one. Call it also when the
        training fails, before the exception ends the process: the client would send an unhandled one's text to Comet.
        """
        experiment, self._experiment = self._experiment, None
        if experiment is None:
            return
        try:
            _within(END_SECONDS, experiment.end)
        except Exception as error:  # tracking must not end a training
            self.warning = f"Comet did not take all metrics: {_why(error)}."
        with suppress(OSError):
            if self.mode == "online" and (rest := _archives(self._offline_dir)):
                self.warning = f"Comet was lost on the way; the rest is kept. {_later(rest[-1])}"


def new_experiment_key() -> str:
    """A key for a new experiment: made before the training and kept, so that a resume continues it."""
    return uuid.uuid4().hex


def start(*, experiment_key: str, project: str, name: str, parameters: dict[str, Any], offline_dir: Path) -> CometRun:
    """Start or continue the experiment with this key: on Comet with a good API key, else in an archive on disk.

    `offline_dir` is this attempt's own and is created if it is missing. Raises nothing: the run's `warning` says what
    is wrong.
    """
    prepare_environment()
    offline_dir = offline_dir.absolute()
    with suppress(OSError):  # also for a run online: what Comet takes no more of goes here
        offline_dir.mkdir(parents=True, exist_ok=True)

    opened = partial(_open, experiment_key, project, name, parameters, offline_dir)
    reason = "COMET_API_KEY is not set"
    if os.environ.get("COMET_API_KEY"):
        try:
            experiment = _within(START_SECONDS, partial(opened, online=True))
            return CometRun("online", str(experiment.url), None, experiment, offline_dir)
        except Exception as error:  # tracking must not end a training
            reason = _why(error)
    try:
        experiment = _within(START_SECONDS, partial(opened, online=False))
        archive = _archives(offline_dir)[-1]
    except Exception as error:  # tracking must not end a training
        return CometRun("offline", "", f"Not on Comet ({reason}), and no archive either: {_why(error)}.")
    warning = f"Not on Comet ({reason}); the metrics are kept in an archive. {_later(archive)}"
    return CometRun("offline", str(archive), warning, experiment, offline_dir)


def _open(
    key: str, project: str, name: str, parameters: dict[str, Any], offline_dir: Path, *, online: bool
) -> CometExperiment:
    """The client's experiment, with its parameters. The first request checks the key and the way to Comet."""
    import comet_ml

    logging.getLogger("comet_ml").setLevel(logging.CRITICAL + 1)
    experiment = comet_ml.start(
        online=online,
        mode="get_or_create",
        experiment_key=key,
        project_name=project,
        experiment_config=comet_ml.ExperimentConfig(name=name, offline_directory=str(offline_dir), **_PRIVATE),
    )
    if not experiment.alive:
        raise _NotOpened
    mailer: Any = experiment  # its mail at the end would name the user of this machine
    mailer.send_notification = lambda *_, **__: None
    experiment.log_parameters(parameters)
    return experiment


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What a call gives, or its exception, or TimeoutError: a name server or a socket may hold it for minutes."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="comet", daemon=True).start()
    return outcome.result(seconds)


def _why(error: BaseException) -> str:
    """The reason in words of our own: the client's may quote the key.

    By the class's name, since importing comet_ml to ask may be the very thing that failed.
    """
    kind = type(error).__name__
    if kind == "InvalidAPIKey":
        return "Comet does not accept COMET_API_KEY"
    if kind == "_NotOpened":
        return "Comet did not open the experiment"
    if "Timeout" in kind:
        return "Comet did not answer in time"
    if "ConnectionError" in kind:
        return "Comet could not be reached"
    return f"the Comet client failed: {kind}"


def _archives(folder: Path | None) -> list[Path]:
    """The archives in a directory, newest last."""
    return sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime) if folder else []


def _later(archive: Path) -> str:
    return f"To upload it later: comet upload {shlex.quote(str(archive))}"
