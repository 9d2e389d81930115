"""The manual's script does what `twinctl demo` does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.engine import Folder
from twinctl.docs.topics import text_of


def test_the_script_of_the_manual_runs(demo: tuple[Folder, dict[str, Any]], tmp_path: Path) -> None:
    """In the demo's own workspace, so that only the chat has to be loaded."""
    folder, document = demo
    (script,) = re.findall(r"```python\n(import twinctl\n.*?)```", text_of("python-api"), re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 11
    (tmp_path / "tiny-twin").symlink_to(folder.path / ".twinctl")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    metrics = document["metrics"]
    assert any(line.startswith(f"{metrics['base_eval_loss']} → {metrics['eval_loss']} [") for line in lines)
    assert len([line for line in lines if line.startswith(("  base: ", "  twin: "))]) == 6
    assert "model.safetensors" in lines[-1]
    assert not [line for line in lines if line.startswith("train step")]  # what the demo trained is taken
