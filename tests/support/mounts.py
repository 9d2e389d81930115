"""File systems for tests to fill up or to freeze.

Where mounting is not permitted, a test file is run again in a user namespace of its own, where it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

INSIDE = "TESTS_IN_A_NAMESPACE"
SMALL = ("-t", "tmpfs", "-o", "size=8m", "tmpfs")


@contextmanager
def mounted(path: Path, *ways: Sequence[str]) -> Iterator[None]:
    """Mount upon the folder, one way after the other; unmounted at the end. Skips the test where that is forbidden."""
    done = 0
    try:
        for way in ways:
            tried = _run("mount", *way, str(path))
            if tried.returncode:
                pytest.skip(f"cannot mount here: {tried.stderr.strip().splitlines()[0]}")
            done += 1
        yield
    finally:
        if done:
            _run("umount", "-l", str(path))


def run_again_in_a_namespace(file: str, folder: Path, *words: str) -> None:
    """Run a test file where it may mount. Skips when it may here already, or nowhere."""
    if INSIDE in os.environ or _run("unshare", "-rm", "true").returncode:
        pytest.skip("this is inside, or there are no user namespaces here")
    if _run("unshare", "-m", "mount", *SMALL, str(folder)).returncode == 0:
        pytest.skip("not needed: mounting is allowed here")
    options = ["-p", "no:cacheprovider", "--basetemp", str(folder / "inside")]
    done = _run(
        "unshare", "-rm", sys.executable, "-m", "pytest", "-n", "0", "-q", *options, file, *words, **{INSIDE: "1"}
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def _run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **env})
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(words, 127, "", f"{error}\n")
