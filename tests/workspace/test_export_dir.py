"""Files come out whole or not at all, the cached ones stay as they are, and nobody else's are overwritten."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounts import SMALL, mounted, run_again_in_a_namespace
from twinctl.errors import BusyError, ConfigError
from twinctl.phases import export_dir
from twinctl.phases.export_dir import export_files, take_away_lines

MIB = 2**20


@pytest.fixture
def cached(tmp_path: Path) -> list[Path]:
    """A result's files: small ones, and one of 3 MiB."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "empty").touch()
    (folder / "twin.gguf").write_bytes(os.urandom(3 * MIB))
    return sorted(folder.iterdir())


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def low_link_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 MiB count as weights."""
    monkeypatch.setattr(export_dir, "LINK_FROM", 2 * MIB)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(files: list[Path], folder: Path) -> bool:
    """Whether the folder has these files, whole, and no others."""
    whole = all((folder / file.name).read_bytes() == file.read_bytes() for file in files)
    return whole and names(folder) == sorted(file.name for file in files)


def test_files_come_out_under_their_names(cached: list[Path], tmp_path: Path) -> None:
    assert export_files(cached, tmp_path / "out") == [tmp_path / "out" / file.name for file in cached]
    assert same(cached, tmp_path / "out")


def test_the_same_again_does_nothing(cached: list[Path], tmp_path: Path) -> None:
    first = [path.stat().st_mtime_ns for path in export_files(cached, tmp_path / "out")]
    assert [path.stat().st_mtime_ns for path in export_files(cached, tmp_path / "out")] == first


@pytest.mark.usefixtures("low_link_limit")
def test_an_edited_file_leaves_the_cached_one_as_it_is(cached: list[Path], tmp_path: Path) -> None:
    """What is small is another file; weights are the same one, which nobody may write."""
    before = [file.read_bytes() for file in cached]
    out = {path.name: path for path in export_files(cached, tmp_path / "out")}
    out["config.json"].write_text("mine")
    weights = out["twin.gguf"]
    if weights.stat().st_nlink > 1:  # the disk can no reflinks
        assert os.path.samefile(weights, cached[-1])
        assert not weights.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    replaced = tmp_path / "new"
    replaced.write_bytes(b"mine")
    replaced.replace(weights)
    assert [file.read_bytes() for file in cached] == before


@pytest.mark.usefixtures("low_link_limit")
def test_a_disk_that_can_share_blocks_does(cached: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_dir, "_clone", lambda file, passing: shutil.copyfile(file, passing))
    monkeypatch.setattr(export_dir, "_copy", lambda *_: pytest.fail("copied"))
    monkeypatch.setattr(export_dir, "require_room", lambda folder, needed, *_: needed and pytest.fail("asked for room"))
    export_files(cached, tmp_path / "out")
    assert same(cached, tmp_path / "out")
    assert [file.stat().st_nlink for file in cached] == [1, 1, 1]


@pytest.mark.usefixtures("low_link_limit")
def test_another_disk_gets_copies(cached: list[Path], elsewhere: Path) -> None:
    export_files(cached, elsewhere)
    assert same(cached, elsewhere)
    assert [file.stat().st_nlink for file in cached] == [1, 1, 1]


@pytest.mark.usefixtures("low_link_limit")
@pytest.mark.parametrize("refused", ["link", "chmod"])
def test_where_links_are_refused_weights_are_copied(
    cached: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, refused, refuse)
    export_files(cached, tmp_path / "out")
    assert same(cached, tmp_path / "out")
    assert [file.stat().st_nlink for file in cached] == [1, 1, 1]


@pytest.mark.parametrize("other", [b"another", b"[]"])
def test_another_file_of_the_name_is_left_alone(cached: list[Path], tmp_path: Path, other: bytes) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_bytes(other)
    with pytest.raises(ConfigError, match=r"config\.json is there already"):
        export_files(cached, out)
    assert (names(out), (out / "config.json").read_bytes()) == (["config.json"], other)
    export_files(cached, out, force=True)
    assert same(cached, out)


def test_a_link_that_leads_elsewhere_is_not_followed(cached: list[Path], tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("mine")
    (out / "config.json").symlink_to(victim)
    (out / "empty").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is there already"):
        export_files(cached, out)
    export_files(cached, out, force=True)
    assert victim.read_text() == "mine" and not (tmp_path / "nowhere").exists()
    assert same(cached, out)


def test_two_files_of_one_name_are_refused(cached: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "config.json"
    other.write_text("[]")
    with pytest.raises(ConfigError, match=r"two files of the name config\.json"):
        export_files([*cached, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used_are_named(cached: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder") as caught:
        export_files(cached, tmp_path / "not there" / "out")
    assert caught.value.hint == f"make it: mkdir -p '{tmp_path / 'not there'}'"
    with pytest.raises(ConfigError, match="is no folder"):
        export_files(cached, cached[0])
    with pytest.raises(ConfigError, match="another file"):
        (tmp_path / "out" / "empty").mkdir(parents=True)
        export_files(cached, tmp_path / "out", force=True)
    with pytest.raises(ConfigError, match="/proc/out") as caught:
        export_files(cached, Path("/proc/out"))
    assert "-o DIR" in caught.value.hint


def test_two_exports_into_one_folder_do_not_meet(cached: list[Path], tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(BusyError, match="another export"):
        export_files(cached, tmp_path)
    os.close(folder)
    export_files(cached, tmp_path)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from twinctl.phases import export_dir
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def half(file, passing):
    Path(passing).write_bytes(Path(file).read_bytes()[:100_000])
    if "gguf" in str(file): die()
if sys.argv[1] == "amid": shutil.copyfile = half
if sys.argv[1] == "before the rename": os.replace = die
if sys.argv[1] == "before the last rename":
    replace = os.replace
    os.replace = lambda one, other: die() if "gguf" in str(other) else replace(one, other)
export_dir.export_files([Path(file) for file in sys.argv[3:]], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("when", ["amid", "before the rename", "before the last rename"])
def test_a_kill_leaves_no_half_file_under_the_name(cached: list[Path], elsewhere: Path, when: str) -> None:
    words = [sys.executable, "-c", KILLED, when, str(elsewhere), *map(str, cached)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert not (elsewhere / "twin.gguf").exists()
    there = [name for name in names(elsewhere) if not name.endswith(".partial")]
    assert all((elsewhere / file.name).read_bytes() == file.read_bytes() for file in cached if file.name in there)
    export_files(cached, elsewhere)
    assert same(cached, elsewhere)


def test_who_may_not_mount_has_these_tests_run_in_a_namespace(tmp_path: Path) -> None:
    run_again_in_a_namespace(__file__, tmp_path, "-k", "disk_without_room or read_only")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path, SMALL):
        yield path


def test_a_disk_without_room_is_refused_before_anything_is_written(cached: list[Path], small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 6 * MIB)
    with pytest.raises(ConfigError, match=r"has 2\.0 MiB free, and the export needs 3\.0") as caught:
        export_files(cached, small_disk / "out")
    assert "free space there" in caught.value.hint and "-o DIR" in caught.value.hint
    assert names(small_disk / "out") == []
    (small_disk / "filler").unlink()
    export_files(cached, small_disk / "out")
    assert same(cached, small_disk / "out")


def test_a_disk_without_room_after_all_leaves_nothing(
    cached: list[Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_dir, "require_room", lambda *_: None)
    (small_disk / "filler").write_bytes(b"x" * 6 * MIB)
    with pytest.raises(ConfigError, match="out: No space left"):
        export_files(cached, small_disk / "out")
    assert names(small_disk / "out") == ["config.json", "empty"]


def test_a_read_only_disk_is_named(cached: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "frozen"
    path.mkdir()
    with mounted(path, SMALL, ("-o", "remount,ro")):
        for folder in (path, path / "out"):
            with pytest.raises(ConfigError, match=r"frozen.*Read-only file system"):
                export_files(cached, folder)


def test_the_lines_to_type(tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    paths = [folder / "twin-q4_k_m.gguf", folder / "Modelfile"]
    scp, create = take_away_lines(paths, "me@box", "twin")
    assert shlex.split(scp) == ["scp", "-r", f"me@box:{folder}", "."]
    assert shlex.split(create) == ["ollama", "create", "twin", "-f", "my models/Modelfile"]
    assert take_away_lines(paths) == [f"ollama create twin -f '{folder}/Modelfile'"]
    assert take_away_lines(paths[:1]) == []


@pytest.mark.parametrize(
    ("run", "file", "model"),
    [
        ("my run!", "Modelfile", "my-run"),
        ("../x", "Modelfile", "x"),
        ("ü", "Modelfile", "twin"),
        ("twin", "Modelfile.q8_0", "twin:q8_0"),
    ],
)
def test_ollamas_names(tmp_path: Path, run: str, file: str, model: str) -> None:
    (line,) = take_away_lines([tmp_path / file], name=run)
    assert shlex.split(line)[2] == model


def test_a_host_is_named_only_to_who_came_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert export_dir.host() == ""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22")
    assert "@" in export_dir.host()
