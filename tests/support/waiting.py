"""What a test waits for, and what the Xet client tells of files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.hub_server import sha256

_HASHES = """
import json, sys, hf_xet
found = hf_xet.hash_files(json.load(sys.stdin))
print(json.dumps([getattr(each, "hash", each) for each in found]))
"""


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def hashes_of(files: Iterable[Path]) -> dict[str, str]:
    """sha256 → Xet hash, as the real Hub learns it from the Xet store."""
    paths = [path for path in files if path.stat().st_size]
    names = json.dumps([str(path) for path in paths])
    done = subprocess.run([sys.executable, "-c", _HASHES], input=names, capture_output=True, text=True, check=True)
    return {sha256(path.read_bytes()): digest for path, digest in zip(paths, json.loads(done.stdout), strict=True)}
