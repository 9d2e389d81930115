"""Code that publishes a folder from a process of its own."""

from __future__ import annotations

CODE = """
from pathlib import Path
from twinctl.hub import client, publish, remote
client.TRANSFER_SECONDS = 2.0
said = []
def send(gone=(), **more):
    files = [path for path in Path("stage").rglob("*") if path.is_file()]
    local = {path.relative_to("stage").as_posix(): remote.LocalFile.of(path.read_bytes()) for path in files}
    there = remote.check_push("me/twin", more.pop("revision", None), public=False)
    how = {"public": False, "message": "m", "gone": gone, "say": said.append, "show_progress": False, **more}
    done = publish.publish(there, Path("stage"), **how)
    publish.require_same(done.remote, local)
    return {"sha": done.sha, "url": done.commit_url, "revision": done.revision, "private": done.remote.private}
"""
