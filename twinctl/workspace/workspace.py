"""The workspace's folder: its layout version, its artifacts and its runs.

What must stay true: a newer layout is refused, never guessed at; a file system on which a second process can take a
lock that is held, or that cannot rename and flush, is refused when the workspace is made.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twinctl.errors import ConfigError, UpstreamError
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import read_json, write_json
from twinctl.workspace.memo import DigestMemo
from twinctl.workspace.run import Run, Runs

LAYOUT = 1
_TRY_LOCK = (
    "import fcntl, os, sys\n"
    "try: fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError: sys.exit(3)\n"
)


class Workspace:
    """An existing workspace, or the place where `create` makes one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = Runs(root)
        self.memo = DigestMemo(root / "digests.json")

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """The workspace at `root`, made or not. Raises UpstreamError for a layout that this version does not know."""
        marker = root / "workspace.json"
        if marker.exists():
            stored = read_json(marker)
            layout = stored.get("layout") if isinstance(stored, dict) else None
            if layout != LAYOUT:
                raise UpstreamError(
                    f"{root} has workspace layout {layout}; this twinctl knows layout {LAYOUT}",
                    "update twinctl, or choose another folder with --workspace",
                )
        return cls(root)

    def create(self) -> None:
        """Make the folder on the first use. Raises ConfigError when the file system cannot keep the promises."""
        marker = self.root / "workspace.json"
        if marker.exists():
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _probe(self.root)
            write_json(marker, {"layout": LAYOUT})
            self.memo.save()  # of what was read before there was a place for it
        except OSError as error:
            raise ConfigError(
                f"cannot make a workspace in {self.root}: {error.strerror or error}",
                "choose a writable folder: --workspace DIR or TWINCTL_WORKSPACE",
            ) from error

    def artifact_path(self, phase: str, slug: str, fingerprint: str) -> str:
        """Where the artifact of a fingerprint is, or is to be, relative to artifacts/.

        Found by the fingerprint alone: the slug is for people, and another name for the same model must not miss.
        """
        folder = self.root / "artifacts" / phase
        for digits in (8, len(fingerprint)):  # all of it, should another one share the first eight
            candidates = sorted(
                folder.glob(f"*-{fingerprint[:digits]}"), key=lambda path: not (path / "record.json").exists()
            )
            same = [
                path
                for path in candidates
                if (Artifact(path).request() or {}).get("fingerprint") in (None, fingerprint)
            ]
            if same or not candidates:
                return f"{phase}/{same[0].name if same else f'{slug}-{fingerprint[:digits]}'}"
        return f"{phase}/{slug}-{fingerprint}"

    def artifact(self, relative: str) -> Artifact:
        """The artifact at a path relative to artifacts/."""
        return Artifact(self.root / "artifacts" / relative)

    @staticmethod
    def relative(artifact: Artifact) -> str:
        """An artifact's path relative to artifacts/."""
        return f"{artifact.path.parent.name}/{artifact.path.name}"

    def run(self, name: str | None) -> Run:
        """The named run, else the current one. Raises UpstreamError when nothing is prepared or none is current."""
        chosen = name or self.runs.current()
        if chosen is not None:
            return self.runs.get(chosen)
        if known := self.runs.names():
            raise UpstreamError(f"no run is current; runs: {', '.join(known)}", "choose one: twinctl runs use NAME")
        raise UpstreamError(f"nothing is prepared in {self.root}", "start with: twinctl prepare")


def _probe(folder: Path) -> None:
    """Raise ConfigError unless locks exclude a second process and rename and flush work here."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as name:
        path = Path(name, "a")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fsync(descriptor)
            second = subprocess.run([sys.executable, "-S", "-E", "-c", _TRY_LOCK, str(path)], check=False, timeout=30)
        finally:
            os.close(descriptor)
        os.replace(path, Path(name, "b"))
        if second.returncode != 3:
            raise ConfigError(
                f"the file system of {folder} does not keep locks between processes",
                "choose a folder on a local disk: --workspace DIR or TWINCTL_WORKSPACE",
            )
