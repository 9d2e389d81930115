"""Make golden/workspace anew with this twinctl: `uv run python tests/workspace/golden/make.py` (a minute).

A golden workspace guards that what an older twinctl wrote can still be read, so it is made anew only for a new layout.
Nothing of the machine it was made on stays in it: host, processes and absolute paths are replaced, the memo of digests
is left out. The results and their records are as they were written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLACE = "/golden"
MADE_BY = (
    "prepare --preset tiny -d rows.jsonl --no-general",
    "train --rank 1 --max-steps 1 --epochs 1 --tracking none",
)


def main() -> None:
    """Make it in a folder of its own, scrub it, and put it here."""
    with tempfile.TemporaryDirectory() as name:
        for file in ("rows.jsonl", "twinctl.toml"):
            shutil.copy(HERE / file, name)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("TWINCTL_", "COMET_", "HF_"))}
        for words in MADE_BY:
            command = [sys.executable, "-m", "twinctl.cli.app", *words.split()]
            subprocess.run(command, cwd=name, env={**env, "HF_HUB_OFFLINE": "1"}, check=True)
        made = Path(name, ".twinctl")
        (made / "digests.json").unlink(missing_ok=True)
        for pattern in ("owner.json", "attempts.jsonl", "runs/*.json"):
            for path in made.rglob(pattern):
                _scrub(path, str(Path(name).resolve()))
        shutil.rmtree(HERE / "workspace", ignore_errors=True)
        shutil.copytree(made, HERE / "workspace", copy_function=shutil.copyfile)


def _scrub(path: Path, folder: str) -> None:
    text = path.read_text(encoding="utf-8").replace(folder, PLACE)
    if path.suffix == ".jsonl":
        lines = [json.dumps(_without_machine(json.loads(line)), ensure_ascii=False) for line in text.splitlines()]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    else:
        scrubbed = json.dumps(_without_machine(json.loads(text)), indent=2, ensure_ascii=False)
        path.write_text(scrubbed + "\n", encoding="utf-8")


def _without_machine(value: dict[str, Any]) -> dict[str, Any]:
    return value | {key: other for key, other in {"host": "golden", "pid": 1}.items() if key in value}


if __name__ == "__main__":
    main()
