"""A workspace can be moved, copied, packed and annexed: its results are hits in the new place, and work goes on there.

Paths in it are relative. The two that cannot be are the rows' file, which only a new `prepare` needs, and a base model
in a folder: where that lies on the new machine is said once, with --model-path, and its content is checked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.desk import PREPARE, Desk, copied, fake_phases, make_twin
from twinctl.chat.model_files import base_files, twin_files
from twinctl.config.export import MergeRecipe
from twinctl.phases import merge
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.run_view import RunView
from twinctl.workspace import memo
from twinctl.workspace.files import write_json

Move = Callable[[Path, Path], None]
ANNEXED = 100  # bytes; larger files of a result become links
COMPLETE = {"prepare": "complete", "train": "complete"}


def _rename(old: Path, new: Path) -> None:
    old.rename(new)


def _copy(old: Path, new: Path) -> None:
    """All times are new, and the modes too."""
    shutil.copytree(old, new, copy_function=shutil.copyfile)


def _pack(old: Path, new: Path) -> None:
    with tarfile.open(new.with_suffix(".tar"), "w") as packed:
        packed.add(old, arcname=new.name)
    with tarfile.open(new.with_suffix(".tar")) as packed:
        packed.extractall(new.parent, filter="data")


def _annex(old: Path, new: Path) -> None:
    """As git-annex and DataLad keep large files: read-only content by its digest, and relative links to it."""
    shutil.copytree(old, new)
    store = new / ".annex"
    store.mkdir()
    for path in [*new.glob(".twinctl/artifacts/*/*/out/**/*")]:
        if path.is_file() and path.stat().st_size > ANNEXED:
            content = store / hashlib.sha256(path.read_bytes()).hexdigest()
            path.replace(content)
            content.chmod(0o444)
            path.symlink_to(os.path.relpath(content, path.parent))
    assert len(list(store.iterdir())) > 3


MOVES: dict[str, Move] = {"renamed": _rename, "copied": _copy, "packed": _pack, "annexed": _annex}


@pytest.fixture(scope="module", autouse=True)
def trained_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with tokens and an adapter, for tests to copy; only prepare does real work."""
    with pytest.MonkeyPatch.context() as patch:
        fake_phases(patch)
        yield make_twin(tmp_path_factory.mktemp("twin"))


@pytest.fixture
def old(trained_desk: Desk, tmp_path: Path) -> Desk:
    """A desk with tokens and an adapter, its model inside."""
    return copied(trained_desk, tmp_path / "old")


@pytest.fixture(params=MOVES)
def moved(request: pytest.FixtureRequest, old: Desk, tmp_path: Path) -> Desk:
    """The same elsewhere; at the old place there is nothing any more."""
    new = tmp_path / "new" / "place"
    new.parent.mkdir()
    MOVES[request.param](old.path, new)
    if old.path.exists():
        old.path.rename(tmp_path / "away")
    return Desk(new)


def test_everything_is_complete_to_the_byte_and_the_same_command_a_hit_that_changes_nothing(moved: Desk) -> None:
    assert moved.states("--verify") == COMPLETE
    before = moved.files()
    assert moved.ask("train")["cached"] is True
    assert moved.files() == before


def test_nothing_in_it_points_to_the_old_place_but_the_model_and_the_rows(old: Desk) -> None:
    artifacts = [path for path in (old.path / ".twinctl/artifacts").rglob("*") if path.is_file()]
    assert [path for path in artifacts if str(old.path).encode() in path.read_bytes()] == []
    assert len(artifacts) > 10


def test_prepare_finds_rows_and_model_that_came_along(moved: Desk) -> None:
    assert moved.ask(PREPARE)["cached"] is True
    moved_to = base_of(moved.workspace.run(None)).folder(weights=True)
    assert moved_to == moved.path / "model"


def test_the_run_goes_on(moved: Desk) -> None:
    moved.type("train --model-path model").ok()
    first = moved.out("train")
    assert moved.ask("train --rank 8")["cached"] is False
    assert moved.out("train") != first
    assert moved.states("--verify") == COMPLETE
    assert moved.ask("train")["cached"] is True  # the first one is still good
    assert moved.out("train") == first


def test_a_result_is_made_again_in_the_new_place(moved: Desk) -> None:
    kept = {path: path.read_bytes() for path in moved.path.glob(".annex/*")}
    moved.type("train --model-path model --restart").ok()
    assert moved.states("--verify") == COMPLETE
    assert not (moved.out("train") / "adapter_model.safetensors").is_symlink()
    assert {path: path.read_bytes() for path in moved.path.glob(".annex/*")} == kept


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", MOVES)
def test_an_edit_of_the_same_size_is_found(
    old: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, when: str
) -> None:
    """Also with the time that the file had, and although the memo knows the file as it was."""
    monkeypatch.setattr(memo, "RACY_NS", 0)  # so it does, without a wait
    new = Desk(tmp_path / "new")
    assert old.ask("train")["cached"] is True
    if when == "before":
        _flip(old.out("train") / "adapter_model.safetensors")
    MOVES[how](old.path, new.path)
    if when == "after":
        assert new.ask("train")["cached"] is True
        _flip(new.out("train") / "adapter_model.safetensors")
    error = new.refused("train", code=4)
    assert "adapter_model.safetensors is not the file that was written" in error["message"]
    assert "twinctl train" in error["hint"]
    assert new.states("--verify") == {"prepare": "complete", "train": "damaged"}


def _flip(path: Path) -> None:
    stat = path.stat()
    path.resolve().chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content.swapcase())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == len(content)


def test_content_that_the_annex_does_not_have_is_missing_by_name(old: Desk, tmp_path: Path) -> None:
    new = Desk(tmp_path / "new")
    _annex(old.path, new.path)
    (new.out("train") / "adapter_model.safetensors").resolve().unlink()
    assert "adapter_model.safetensors is missing" in new.refused("train", code=4)["message"]
    assert new.states()["train"] == "damaged"
    assert new.ask("train --model-path model --restart")["cached"] is False
    assert new.states("--verify") == COMPLETE


@pytest.fixture
def moved_model(old: Desk, tmp_path: Path) -> Path:
    """The model's folder, moved out of the workspace's sight."""
    return (old.path / "model").rename(tmp_path / "models on this machine")


def test_a_finished_result_needs_no_model(old: Desk, moved_model: Path) -> None:
    assert old.ask("train")["cached"] is True
    assert old.states() == COMPLETE


def test_work_without_the_model_is_refused_with_the_flag_that_says_where_it_is(old: Desk, moved_model: Path) -> None:
    error = old.refused("train --rank 4", code=4)
    assert str(old.path / "model") in error["message"]
    assert "--model-path" in error["hint"]
    assert old.out("train").is_dir()  # the pointer is still that of the finished one


def test_the_place_of_the_model_is_said_once(old: Desk, moved_model: Path) -> None:
    assert old.ask("train --rank 4 --model-path", moved_model)["cached"] is False
    assert old.ask("train --rank 8")["cached"] is False
    run = old.workspace.run(None)
    assert run.pins["model"]["path"] == str(moved_model)
    view = RunView(old.workspace, run)
    assert merge.plan(view, MergeRecipe()).resolve_inputs().base == moved_model
    assert twin_files(view).base == base_files(view).base == moved_model
    assert old.ask("export --merged")["cached"] is False


@pytest.mark.parametrize("words", ["train", "train --rank 4", "export --merged"])
def test_each_command_that_takes_the_place_remembers_it(old: Desk, moved_model: Path, words: str) -> None:
    old.type(words, "--model-path", moved_model).ok()
    assert old.workspace.run(None).pins["model"]["path"] == str(moved_model)


def test_a_relative_place_is_remembered_for_every_folder(old: Desk, moved_model: Path, tmp_path: Path) -> None:
    old.type("train --rank 4 --model-path", f"../{moved_model.name}".replace(" ", r"\ ")).ok()
    assert old.workspace.run(None).pins["model"]["path"] == str(moved_model)
    beside = Desk(tmp_path)
    assert beside.ask("train --rank 8 -w old/.twinctl")["cached"] is False


def test_prepare_by_the_old_name_finds_the_model_in_its_new_place(old: Desk, moved_model: Path) -> None:
    old.type("train --model-path", moved_model).ok()
    assert old.ask(PREPARE)["cached"] is True
    assert old.ask(PREPARE, "--max-length 200")["cached"] is False
    pinned = old.workspace.run(None).pins["model"]
    assert (pinned["locator"], pinned["path"]) == ("model", str(moved_model))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_differs_by_one_byte_is_another_model(old: Desk, moved_model: Path, name: str) -> None:
    pins = old.workspace.run(None).pins
    content = bytearray((moved_model / name).read_bytes())
    content[-2] ^= 1
    (moved_model / name).write_bytes(content)
    error = old.refused("train --rank 4 --model-path", moved_model, code=4)
    assert f"{moved_model} holds another model" in error["message"]
    assert name in error["message"]
    assert "twinctl prepare --model" in error["hint"]
    assert old.workspace.run(None).pins == pins


def test_a_folder_that_lacks_a_file_or_has_one_more_is_another_model(old: Desk, moved_model: Path) -> None:
    tokens = moved_model / "tokenizer_config.json"
    kept = tokens.rename(moved_model / "kept")
    assert "tokenizer_config.json" in old.refused("train --model-path", moved_model, code=4)["message"]
    kept.rename(tokens)
    write_json(moved_model / "generation_config.json", {"eos_token_id": 3})
    assert "generation_config.json" in old.refused("train --model-path", moved_model, code=4)["message"]


def test_a_place_without_a_model_is_said_so(old: Desk, moved_model: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        assert str(place) in old.refused("train --model-path", place, code=3)["message"]
    assert old.ask("train --model-path", moved_model)["cached"] is True
