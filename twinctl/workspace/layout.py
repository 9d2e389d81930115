"""The workspace's folders besides artifacts/ and runs/, and what the workspace promises of them.

What must stay true: what is in them is others' business; the workspace only knows when to move and when to remove it.
"""

from __future__ import annotations

TRANSCRIPTS = "talks"
KEPT_PER_RUN = (TRANSCRIPTS,)
"""Folders that hold a folder by each run's name, with numbered files (1.jsonl, 2.jsonl, …) and others that are only
appended to. They follow the run when it is renamed, and stay when it is removed."""

SPOOL = "stdin"
"""The folder of what was piped in. A file in it stays as long as a run's pins name it."""
