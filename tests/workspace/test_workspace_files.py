"""Files are whole or not there; appended lines survive a line that a crash cut short."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from twinctl.errors import UpstreamError
from twinctl.pipeline.watch import follow
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import append_line, atomic_write, read_json, read_lines, replace_atomically, write_json


def test_what_is_written_is_read(tmp_path: Path) -> None:
    value = {"text": "naïve 東京", "list": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "東京" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [{"x": math.nan}, {"x": math.inf}, {"x": object()}, {"x": Path("a")}])
def test_a_value_that_json_lacks_leaves_the_old_content(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "a.json", "old")
    with pytest.raises((TypeError, ValueError)):
        write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    write_json(tmp_path / "a.json", "old")
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, call, full)
        write_json(tmp_path / "a.json", "new")
    assert read_json(tmp_path / "a.json") == "old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("single_writer", [False, True])
def test_a_block_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path: Path, single_writer: bool) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(target, single_writer=single_writer) as partial:
        partial.write_bytes(b"half")
        assert target.read_bytes() == b"old"
        raise ZeroDivisionError
    assert (target.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a.bin"])
    with atomic_write(target, single_writer=single_writer) as partial:
        partial.write_bytes(b"new")
    assert (target.read_bytes(), os.listdir(tmp_path)) == (b"new", ["a.bin"])


def test_two_processes_write_to_different_partial_files_and_a_single_writer_to_the_same_one(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as partial:
        assert str(os.getpid()) in partial.name
        partial.touch()
    with atomic_write(tmp_path / "a", single_writer=True) as partial:
        assert partial.name == ".a.partial"
        partial.touch()


def test_a_folder_is_published_with_everything_in_it_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_text("a")
    replace_atomically(tmp_path / "new", tmp_path / "final")
    assert flushed == [str(tmp_path / "new" / "a"), str(tmp_path / "new"), str(tmp_path)]
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "a"]


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"{} {}"])
def test_a_damaged_file_is_named_with_the_mend(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UpstreamError, match=r"a\.json is damaged") as caught:
        read_json(path)
    assert f"mv {path} {path}.bad" in caught.value.hint


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    assert list(read_lines(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("cut", range(1, len('{"number": 2, "text": "é"}\n'.encode())))
def test_a_line_cut_short_anywhere_is_passed_over_and_the_next_starts_anew(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"number": 1})
    append_line(path, {"number": 2, "text": "é"})
    os.truncate(path, path.stat().st_size - cut)
    is_whole = cut == 1  # only the line's end is gone
    assert [line["number"] for line in read_lines(path)] == ([1, 2] if is_whole else [1])
    append_line(path, {"number": 3})
    append_line(path, {"number": 4})
    assert [line["number"] for line in read_lines(path)] == ([1, 2, 3, 4] if is_whole else [1, 3, 4])


def test_events_are_followed_as_they_come_until_the_writer_is_gone(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    artifact.append_event("step", step=0)
    start = (tmp_path / "events.jsonl").stat().st_size

    def work() -> None:
        artifact.append_event("step", step=1)
        with open(tmp_path / "events.jsonl", "ab", buffering=0) as stream:
            stream.write(b'{"event": "step", ')
            time.sleep(0.25)
            stream.write(b'"step": 2}\n{"event": "torn')
        artifact.append_event("step", step=3)
        artifact.append_event("step", step=4)

    writer = threading.Thread(target=work)
    writer.start()
    seen = [event.values["step"] for event in follow(artifact, writer.is_alive, start)]
    assert seen == [1, 2, 3, 4]


def test_following_from_the_start_gives_what_was_there(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path)
    assert list(follow(artifact, lambda: False)) == []
    artifact.append_event("step", step=1)
    assert [event.values["step"] for event in follow(artifact, lambda: False)] == [1]
    assert [event["step"] for event in artifact.events()] == [1]
