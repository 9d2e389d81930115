"""The demo: a tiny trained base model and an invented author for it to learn from. Importing this costs nothing."""

from __future__ import annotations

from pathlib import Path

from twinctl.demo.author import AUTHOR, sounds_like_author

__all__ = ["AUTHOR", "AUTHOR_ROWS", "BASE", "sounds_like_author"]

BASE: Path = Path(__file__).parent / "base"
AUTHOR_ROWS: Path = Path(__file__).parent / "author.jsonl"
