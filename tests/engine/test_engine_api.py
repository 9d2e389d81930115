"""The manual's script does what `twinctl demo` does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.engine import Folder
from twinctl.docs.topics import page_text


def test_the_script_of_the_manual_runs(demo: tuple[Folder, dict[str, Any]], tmp_path: Path) -> None:
    """In the demo's own workspace, so that only the chat has to be loaded."""
    folder, document = demo
    (script,) = re.findall(r"```python\n(import twinctl\n.*?)```", page_text("python-api"), re.DOTALL)
    assert len([line for line in script.splitlines() if line]) == 10
    (tmp_path / "tiny-twin").symlink_to(folder.path / ".twinctl")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    *asked, losses, pushed = done.stdout.splitlines()
    metrics = document["metrics"]
    assert losses.startswith(f"{metrics['base_eval_loss']} → {metrics['eval_loss']} tiny-twin/artifacts/merge/")
    assert [line.startswith("  ") for line in asked] == [False, True, True] * 3
    assert pushed.startswith("push would send: [") and "model.safetensors" in pushed
    assert len(list((folder.path / ".twinctl/artifacts/train").iterdir())) == 1  # what the demo trained is taken
