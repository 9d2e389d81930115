"""How fast a training was, as later plans and comparisons read it."""

from __future__ import annotations

from pathlib import Path

from twinctl.engine.progress import TrainingProgress
from twinctl.workspace.files import write_json


def test_steps_in_which_kernels_are_compiled_do_not_slow_the_pace() -> None:
    progress = TrainingProgress()
    progress.step_done(1000, 50.0, is_first=True)
    assert progress.pace() == 20.0  # there is nothing else to go by
    progress.step_done(1000, 1.0, is_first=False)
    progress.step_done(1100, 30.0, is_first=True)  # resumed
    progress.step_done(900, 1.0, is_first=False)
    assert progress.pace() == 950.0
    assert (progress.tokens, progress.seconds) == (4000, 82.0)


def test_no_step_has_no_pace() -> None:
    assert TrainingProgress().pace() is None


def test_a_checkpoint_from_before_first_steps_were_told_apart_goes_on(tmp_path: Path) -> None:
    write_json(tmp_path / TrainingProgress.FILE, {"tokens": 4000, "seconds": 2.0})
    progress = TrainingProgress.load(tmp_path)
    progress.step_done(1000, 9.0, is_first=True)
    assert progress.pace() == 2000.0
