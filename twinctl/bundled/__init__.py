"""What ships with the package to try it on: a tiny trained base model, and an invented author's rows.

`python -m twinctl.demo.make` made both. Importing this costs nothing.
"""

from __future__ import annotations

from pathlib import Path

BASE: Path = Path(__file__).parent / "base"
AUTHOR_ROWS: Path = Path(__file__).parent / "author.jsonl"
