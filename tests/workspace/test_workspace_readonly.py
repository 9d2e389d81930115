"""A workspace that cannot be written is read all the same; work that is left to do is refused, with the mend.

Seen by a process without the right to write: a child that gives root's rights up (any other user has none), below
files and folders without a write bit; and, where mounting is allowed, on a read-only mount.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Done
from tests.support.desk import PREPARE, Desk, copied, fake_phases, make_twin
from tests.support.mounts import mounted, run_again_in_a_namespace
from twinctl.chat.model_files import base_files, twin_files
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.workspace import memo

LOOKS = (
    "status",
    "status --verify",
    "inspect prepare",
    "inspect train",
    "diff tiny short",
    "path",
    "path adapter",
    "runs",
)
DONE = (PREPARE, "train", "export --adapter", "runs use tiny")
WORK = (
    f"{PREPARE} --max-length 220",
    "train --rank 4",
    "train --restart",
    "export --merged",
    "runs use short",
    f"{PREPARE} --max-length 200 --run short",  # there already, but then `short` is the current run
    "train --model-path ../elsewhere",
)
CAPABILITIES = 0x20080522  # the header's version: 64 bits, three sets


@pytest.fixture(scope="module", autouse=True)
def two_run_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A finished run and another that is only prepared; in this file only prepare does real work."""
    with pytest.MonkeyPatch.context() as patch:
        fake_phases(patch)
        patch.setattr(memo, "RACY_NS", 0)  # the memo of digests wants to be written at every look
        desk = make_twin(tmp_path_factory.mktemp("twin"))
        desk.type(PREPARE, "--max-length 200 --run short").ok()
        desk.type(PREPARE).ok()
        yield desk


@contextmanager
def _by_mode(desk: Desk) -> Iterator[None]:
    paths = [desk.path, *desk.path.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def _by_mount(desk: Desk) -> AbstractContextManager[None]:
    return mounted(desk.path, ("--bind", str(desk.path)), ("-o", "remount,ro,bind"))


@pytest.fixture(params=[_by_mode, _by_mount])
def frozen(request: pytest.FixtureRequest, two_run_desk: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A desk at which nothing can be written."""
    desk = copied(two_run_desk, tmp_path / "desk")
    before = desk.files()
    with request.param(desk):
        assert _as_reader(lambda: _can_write(desk.path)) is False
        yield desk
        assert desk.files() == before


def test_who_may_not_mount_has_these_tests_run_in_a_namespace(tmp_path: Path) -> None:
    run_again_in_a_namespace(__file__, tmp_path, "-k", "_by_mount")


def _can_write(folder: Path) -> bool:
    try:
        (folder / "written").touch()
    except OSError:
        return False
    return True


def _as_reader(look: Callable[[], Any]) -> Any:
    """What `look` answers, as JSON has it, in a child process without root's right to write everywhere."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writes, "w") as stream:
            try:
                _give_up_rights()
                answer = {"answer": look()}
            except BaseException as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            json.dump(answer, stream, default=str)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as stream:
        found = json.load(stream)
    os.waitpid(child, 0)
    assert "answer" in found, found["error"]
    return found["answer"]


def _give_up_rights() -> None:
    """A root without capabilities is anybody: the files' modes count."""
    if os.getuid() == 0:
        header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, sets) == 0


def _typed(desk: Desk, *commands: str) -> dict[str, Done]:
    """What the commands come to when that process types them, one after the other."""
    found = _as_reader(lambda: [astuple(desk.type(words)) for words in commands])
    return {words: Done(*done) for words, done in zip(commands, found, strict=True)}


def _ageless(text: str) -> str:
    return re.sub(r"\d+ (s|min) ago", "ago", text)


def test_a_look_shows_what_it_shows_elsewhere(frozen: Desk) -> None:
    for words, seen in _typed(frozen, *LOOKS, *(f"{words} --json" for words in LOOKS)).items():
        assert _ageless(seen.ok().out) == _ageless(frozen.type(words).ok().out), words
        assert len(seen.out) > 20


def test_what_is_done_already_is_a_hit(frozen: Desk) -> None:
    for words, done in _typed(frozen, *(f"{words} --json" for words in DONE)).items():
        assert done.ok().document.get("cached", True) is True, words
    for words, done in _typed(frozen, *DONE).items():
        assert "error" not in done.ok().err, words


def test_the_twin_is_found_to_talk_to(frozen: Desk) -> None:
    def look() -> Any:
        view = RunView(frozen.workspace, frozen.workspace.run(None))
        found = [vars(twin_files(view)), vars(base_files(view))]
        return [found, view.trained().path, view.need(Kind.TOKENS).path]

    (twin, base), adapter, tokens = _as_reader(look)
    slots = frozen.workspace.run(None).slots
    assert (adapter, tokens) == (slots["train"], slots["prepare"])
    assert Path(twin["adapter"]) == frozen.out("train")
    assert (twin["base"], base["adapter"]) == (str(frozen.path / "model"), None)


def test_work_that_is_left_is_refused_with_the_mend(frozen: Desk) -> None:
    shutil.copytree(frozen.path / "model", frozen.path.parent / "elsewhere")
    for words, done in _typed(frozen, *(f"{words} --json" for words in WORK)).items():
        assert done.code == 3, f"{words}: {done.out}\n{done.err}"
        told = done.document["error"]
        assert told["message"].startswith(".twinctl/"), words
        assert any(why in told["message"] for why in ("Permission denied", "Read-only file system"))
        assert "check the permissions" in told["hint"]
        assert "--workspace DIR" in told["hint"]


def test_a_workspace_that_cannot_be_made_is_refused_with_the_mend(frozen: Desk) -> None:
    (done,) = _typed(frozen, f"{PREPARE} -w new/place --json").values()
    assert done.code == 3
    assert "cannot make a workspace in new/place" in done.document["error"]["message"]
    assert "--workspace DIR" in done.document["error"]["hint"]


def test_where_it_can_be_written_again_the_refused_work_is_done(frozen: Desk, tmp_path: Path) -> None:
    assert _typed(frozen, "train --rank 4")["train --rank 4"].code == 3
    thawed = copied(frozen, tmp_path / "thawed")
    assert thawed.ask("train --rank 4")["cached"] is False
    assert thawed.states("--verify", "--run tiny") == {"prepare": "complete", "train": "complete"}
