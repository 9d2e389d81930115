"""Metrics reach Comet or an archive, nothing else does, and nothing that Comet does can hold a training up."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.comet_server import CometStandIn
from tests.support.comet_training import EXPERIMENT, KEY, SECRETS, Trainer, wait_for
from twinctl.tracking import new_experiment_key

LOSSES: list[Any] = [(step, pytest.approx(1 / (step + 1))) for step in range(10)]
ENDPOINTS = {
    "/api/rest/v2/experiment/metadata",
    "/api/rest/v2/experiment/tags",
    "/api/rest/v2/write/experiment/log-other",
    "/clientlib/asset/3d-limits",
    "/clientlib/batch/logger/experiment/metric",
    "/clientlib/batch/logger/experiment/parameter",
    "/clientlib/health/ping",
    "/clientlib/isAlive/ver",
    "/clientlib/logger/add/run",
    "/clientlib/logger/get/run",
    "/clientlib/status-report/update",
}


def archived(folder: Path) -> str:
    """Everything in the one archive of a folder."""
    (path,) = folder.glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        return "\n".join(archive.read(name).decode() for name in archive.namelist())


def losses_in(text: str) -> list[float]:
    """The losses among an archive's messages."""
    messages = [json.loads(line) for line in text.splitlines() if line.startswith('{"payload"')]
    metrics = [m["payload"]["metric"] for m in messages if m["type"] == "metric_msg"]
    return [metric["metricValue"] for metric in metrics if metric["metricName"] == "loss"]


def test_metrics_arrive_and_a_resume_goes_on(comet: CometStandIn, trainer: Trainer) -> None:
    first = trainer.run("0").report
    second = trainer.run("5", "early").report
    experiment = comet.experiments[EXPERIMENT]
    assert (experiment.created, experiment.continued) == (1, 1)
    assert experiment.metrics["loss"] == LOSSES
    assert all(math.isnan(value) for _, value in experiment.metrics["eval/loss"])
    assert experiment.parameters["lora|rank"] == 16 and experiment.parameters["base"] == "tiny"
    for report in (first, second):
        assert (report["mode"], report["warning"]) == ("online", None)
        assert report["where"].endswith(EXPERIMENT)
    assert not list(trainer.folder.glob("attempt/**/*.zip"))


@pytest.mark.parametrize("argv", [("0",), ("0", "early")])
def test_nothing_private_is_sent(comet: CometStandIn, trainer: Trainer, argv: tuple[str, ...]) -> None:
    output = trainer.run(*argv).output
    assert {path for path, _ in comet.bodies} <= ENDPOINTS
    sent = json.dumps(comet.bodies)
    assert [secret for secret in (*SECRETS, socket.gethostname(), str(trainer.folder)) if secret in sent] == []
    assert KEY not in output


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"COMET_API_KEY": "badKEY0123456789abcdefgh"}, "does not accept COMET_API_KEY"),
        ({"COMET_API_KEY": ""}, "COMET_API_KEY is not set"),
        ({"COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}, "could not be reached"),
        ({"COMET_URL_OVERRIDE": "http://comet.invalid/clientlib/"}, "could not be reached"),
        ({"HANG": "1"}, "could not be reached"),
    ],
    ids=["bad key", "no key", "refused", "no such host", "no answer"],
)
def test_an_archive_where_comet_cannot_be_had(
    comet: CometStandIn, trainer: Trainer, env: dict[str, str], reason: str
) -> None:
    comet.hang = "HANG" in env
    log = {"COMET_LOGGING_FILE": str(trainer.folder / "comet.log")}
    training = trainer.run("0", **env, **log)
    report = training.report
    assert report["started"] < 10 and report["ended"] < 5
    assert (report["mode"], reason in report["warning"]) == ("offline", True)
    assert report["warning"].endswith(f"comet upload {report['where']}")
    text = archived(trainer.folder / "attempt" / "0")
    assert losses_in(text) == [value for _, value in LOSSES[:5]]
    assert '"resume_strategy": "get_or_create"' in text and EXPERIMENT in text
    assert [secret for secret in (*SECRETS, str(trainer.folder)) if secret in text] == []
    for key in (KEY, env.get("COMET_API_KEY") or KEY):
        assert key not in training.output + text
        assert not [p for p in trainer.folder.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]


def test_each_attempt_has_its_own_archive(trainer: Trainer) -> None:
    for first in ("0", "5"):
        trainer.run(first, COMET_API_KEY="")
    found = [losses_in(archived(trainer.folder / "attempt" / first)) for first in ("0", "5")]
    assert found == [[value for _, value in part] for part in (LOSSES[:5], LOSSES[5:])]


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_losing_comet_on_the_way(comet: CometStandIn, trainer: Trainer, how: str) -> None:
    process = trainer.start("0", "wait")
    wait_for(process, "WAITING")
    if how == "gone":
        comet.stop()
    else:
        comet.hang = True
    output, _ = process.communicate("\n", timeout=60)
    report = json.loads(output.splitlines()[-1])
    assert process.returncode == 0 and report["ended"] < 21
    arrived = [value for _, value in comet.experiments[EXPERIMENT].metrics.get("loss", [])]
    archives = list(trainer.folder.glob("attempt/0/*.zip"))
    kept = losses_in(archived(trainer.folder / "attempt" / "0")) if archives else []
    assert sorted({*arrived, *kept}, reverse=True) == [value for _, value in LOSSES[:5]]
    assert not archives or report["warning"].endswith(f"comet upload {archives[0]}")


def test_no_place_for_an_archive(trainer: Trainer) -> None:
    (trainer.folder / "attempt").write_text("not a folder")
    report = trainer.run("0", COMET_API_KEY="").report
    assert (report["mode"], report["where"]) == ("offline", "")
    assert "no archive either" in report["warning"]


def test_an_archive_can_be_uploaded_later(comet: CometStandIn, trainer: Trainer) -> None:
    where = trainer.run("0", COMET_API_KEY="").report["where"]
    comet_cli = shutil.which("comet", path=str(Path(sys.executable).parent))
    assert comet_cli is not None
    env = {**trainer.env, "HOME": str(trainer.folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([comet_cli, "upload", where], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert comet.experiments[EXPERIMENT].metrics["loss"] == LOSSES[:5]


def test_a_prepared_environment_keeps_the_import_harmless(trainer: Trainer) -> None:
    code = (
        "import sys; from twinctl import tracking; tracking.prepare_environment(); import comet_ml\n"
        "print(comet_ml.error_tracking.enabled_in_config(), [f for f in sys.meta_path if 'Comet' in type(f).__name__])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.stdout.strip(), done.stderr) == ("False []", "")


def test_importing_the_room_is_cheap() -> None:
    code = "import sys, twinctl.tracking; print({'comet_ml', 'requests', 'torch'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "set()"


def test_experiment_keys() -> None:
    keys = {new_experiment_key() for _ in range(100)}
    assert len(keys) == 100 and all(len(key) == 32 and key.isalnum() for key in keys)
