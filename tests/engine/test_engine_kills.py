"""Rounds: the whole workflow in a fresh folder, with SIGKILLs at moments that nobody chose.

What must stay true, whatever is killed and when: the same command typed again goes on to the end; no command says
“done” of anything else than the result of a run without kills, byte for byte; no command ends by a bug.

Three rounds run always, a hundred more by `pytest -m slow --dist load tests/engine/test_engine_kills.py -n 2`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import EXPORT, SAVE_EVERY, TRAIN, Folder, workers_below
from twinctl.errors import EngineError
from twinctl.pipeline.phase import REPORT
from twinctl.workspace.artifact import manifest

PREPARE = ("prepare", "--preset", "tiny")
SLOTS = {"prepare", "train", "merge", "gguf-f32", "gguf-q8_0"}
NOT_THE_SAME = {"seconds", "tokens_per_second", "peak_memory_gib", "resumed_from"}

# Files whose appearance says that a command has come somewhere, below artifacts/. Most of a command's time is imports;
# without these few kills would meet a start, a checkpoint or a commit.
LANDMARKS = {
    "prepare": ["prepare/*/owner.json", "prepare/*/work/out/*.arrow", "prepare/*/out", "prepare/*/record.json"],
    "train": [
        "train/*/owner.json",
        "train/*/work/job.json",
        "train/*/work/base-eval.json",
        f"train/*/work/checkpoints/checkpoint-{SAVE_EVERY}",
        f"train/*/work/checkpoints/checkpoint-{2 * SAVE_EVERY}/optimizer.pt",
        f"train/*/work/checkpoints/checkpoint-{3 * SAVE_EVERY}/twinctl-checkpoint.json",
        "train/*/work/out/*",
        "train/*/work/out/adapter_model.safetensors",
        "train/*/out",
        "train/*/record.json",
    ],
    "export": [
        "merge/*/owner.json",
        "merge/*/work/job.json",
        "merge/*/work/out/*",
        "merge/*/work/out/model.safetensors",
        "merge/*/out",
        "merge/*/record.json",
        "gguf/f32-*/work",
        "gguf/f32-*/work/out/*",
        "gguf/f32-*/record.json",
        "gguf/q8_0-*/work",
        "gguf/q8_0-*/work/out/*",
        "gguf/q8_0-*/out",
    ],
}
TARGETS = ("worker", "command", "both", "groups")


@dataclass(frozen=True)
class Moment:
    """Shortly behind a landmark, or (where none is drawn, or it is there already) at some part of the time that the
    command takes; and who is killed then, in which order.
    """

    landmark: str | None
    behind: float
    part: float
    target: str
    command_first: bool

    @classmethod
    def draw(cls, rng: random.Random, command: str) -> Moment:
        """Half of them at any time of the command, half behind a landmark."""
        landmark = rng.choice(LANDMARKS[command]) if rng.random() < 0.5 else None
        behind = rng.choice([0.0, 0.02, 0.3]) * rng.random()
        return cls(landmark, behind, rng.random(), rng.choice(TARGETS), rng.random() < 0.5)

    def __str__(self) -> str:
        return f"{self.behind:.3f} s behind {self.landmark}" if self.landmark else f"after {self.part:.0%}"


def plan_of(seed: int) -> dict[str, list[Moment]]:
    """When a round kills each command."""
    rng = random.Random(seed)
    kills = {"prepare": 1, "train": rng.randint(1, 2), "export": rng.randint(0, 1)}
    return {command: [Moment.draw(rng, command) for _ in range(times)] for command, times in kills.items()}


class Round:
    """One folder's way through the workflow, and what an uninterrupted one made of it."""

    def __init__(self, folder: Folder, reference: Folder) -> None:
        self.folder, self._reference = folder, reference
        self._took = json.loads((reference.path / "took.json").read_text())
        self.story: list[str] = []

    def bring_to_an_end(self, *words: str, kills: list[Moment]) -> None:
        """Type the command, kill it, type it again, and at last let it end."""
        for moment in kills:
            self._type_and_kill(moment, *words)
            self.check_claims()
            assert self._states() <= {"complete", "partial", "running", "absent"}
        self._check_done(self.folder.type(*words))
        self.check_claims()

    def _type_and_kill(self, moment: Moment, *words: str) -> None:
        by_landmark = moment.landmark is not None and not any(self._artifacts().glob(moment.landmark))
        command = self.folder.start(*words, "--json")
        began = time.monotonic()
        if by_landmark:
            _sleep_until(lambda: any(self._artifacts().glob(moment.landmark or "")), command)
            began = time.monotonic()
        seconds = moment.behind if by_landmark else moment.part * self._took[words[0]]
        _sleep_until(lambda: time.monotonic() > began + seconds, command)
        killed = _kill(self.folder, moment, command)
        out, err = command.communicate(timeout=120)
        self.story.append(f"{words[0]}: {moment} killed {' and '.join(killed) or 'nobody'} → {command.returncode}")
        # Nothing but the kill ends it otherwise than well: neither a bug nor a refusal.
        endings = {"command": -signal.SIGKILL, "worker": EngineError.exit_code}
        assert command.returncode in {0, *(endings[who] for who in killed)}, f"{out}\n{err}"
        if command.returncode == 0:
            self._check_done(json.loads(out))
        elif command.returncode == EngineError.exit_code:
            message = json.loads(out)["error"]["message"]
            assert "killed by signal 9" in message or "ended without a result" in message

    def _check_done(self, document: dict[str, Any]) -> None:
        for done in document.get("artifacts", [document]):
            record = json.loads((self.folder.path / done["path"]).with_name("record.json").read_text())
            assert (record["fingerprint"], record["metrics"]) == (done["fingerprint"], done["metrics"])

    def check_claims(self) -> None:
        """Whatever has a record is what an uninterrupted run makes, byte for byte."""
        for record in self._artifacts().glob("*/*/record.json"):
            found = json.loads(record.read_text())
            made = {entry.name: entry.sha256 for entry in manifest(record.parent / "out")}
            assert made == {entry["name"]: entry["sha256"] for entry in found["files"]}, record
            expected = _expected(self._reference, record.parent)
            assert made.keys() == expected.keys(), record
            different = {name for name in made if made[name] != expected[name]}
            assert all(name.endswith(REPORT) for name in different), record  # which tell the time it took

    def check_the_end(self) -> None:
        """All of it is there, nothing else is, and status says so."""
        records = list(self._artifacts().glob("*/*/record.json"))
        assert len(records) == len(SLOTS)
        assert not list(self._artifacts().glob("*/*/work"))
        assert self.folder.adapter() == self._reference.adapter()
        assert self.folder.losses() == self._reference.losses()
        ours, theirs = (_metrics(folder) for folder in (self.folder, self._reference))
        assert {name for name in theirs if ours[name] != theirs[name]} <= NOT_THE_SAME
        (run,) = self.folder.type("status")["runs"]
        assert {(line["slot"], line["state"]) for line in run["phases"]} == {(slot, "complete") for slot in SLOTS}

    def _states(self) -> set[str]:
        runs = self.folder.type("status")["runs"]
        return {line["state"] for run in runs for line in run["phases"]}

    def _artifacts(self) -> Path:
        return self.folder.path / ".twinctl" / "artifacts"


def _metrics(folder: Folder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.artifact("train") / "record.json").read_text())["metrics"]
    return found


def _expected(reference: Folder, artifact: Path) -> dict[str, str]:
    twin = reference.path / ".twinctl" / "artifacts" / artifact.parent.name / artifact.name
    return {entry["name"]: entry["sha256"] for entry in json.loads((twin / "record.json").read_text())["files"]}


def _sleep_until(is_time: Callable[[], bool], command: subprocess.Popen[str]) -> None:
    """Until it is time, or until the command is done."""
    while not is_time() and command.poll() is None:
        time.sleep(0.002)


def _kill(folder: Folder, moment: Moment, command: subprocess.Popen[str]) -> list[str]:
    """SIGKILL, and wait until they are gone; who was killed. Without a worker it is the command."""
    workers = workers_below(folder.path) if moment.target != "command" else []
    victims = [("worker", pid) for pid in workers]
    if command.poll() is None and (moment.target != "worker" or not workers):
        victims.insert(0 if moment.command_first else len(victims), ("command", command.pid))
    for _, pid in victims:
        with suppress(ProcessLookupError):  # it ended by itself
            (os.killpg if moment.target == "groups" else os.kill)(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while workers and workers_below(folder.path):
        assert time.monotonic() < until
        time.sleep(0.01)
    return [who for who, _ in victims]


# Between them these kill at a start, while libraries load, behind a checkpoint, while saving, in a merge and at a GGUF.
ALWAYS = (8, 12, 18)
SEEDS = [*ALWAYS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(103) if seed not in ALWAYS)]


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_any_moment_change_nothing(seed: int, folder: Folder, uninterrupted: Folder) -> None:
    way, plan = Round(folder, uninterrupted), plan_of(seed)
    try:
        for words in (PREPARE, TRAIN, EXPORT):
            way.bring_to_an_end(*words, kills=plan[words[0]])
        way.check_the_end()
    finally:
        print("\n".join(way.story))
    shutil.rmtree(folder.path)  # 100 MB
