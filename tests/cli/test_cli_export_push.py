"""export and push --dry-run: exactly the files that were made, and none that was touched since."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.config.export import Merge4bitRecipe
from twinctl.phases import merge_4bit
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.workspace import Workspace


@pytest.fixture
def exported(trained: object, cli: Cli) -> dict[str, Any]:
    """A workspace with a merged model; the document of `export`."""
    return cli("export", "--json").ok().document


def on_disk(folder: str) -> list[tuple[str, int, str]]:
    """Name, bytes and sha256 of each file, read now."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [(path.name, len(path.read_bytes()), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def listed(document: dict[str, Any]) -> list[tuple[str, int, str]]:
    """The same of a document."""
    return [(file["name"], file["bytes"], file["sha256"]) for file in document["metrics"]["files"]]


def sent(document: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Those of the result among the files that a push lists: without card, picture and twinctl.json."""
    return [file for file in listed(document) if file[0] not in ("README.md", "loss_curve.png", "twinctl.json")]


def test_export_lists_its_files(cli: Cli, exported: dict[str, Any]) -> None:
    assert listed(exported) == on_disk(exported["path"])
    assert all(Path(file["path"]).is_file() for file in exported["metrics"]["files"])
    shown = cli("export").ok().out.splitlines()
    assert shown[0].startswith("merge: already done (cached)")
    digest = hashlib.sha256(b"merged" * 1000).hexdigest()[:12]
    assert "proven: mean KL" in shown[1]
    assert ["model.safetensors", "5.9", "KiB", digest] in [line.split() for line in shown]


def test_second_export_is_a_hit(cli: Cli, exported: dict[str, Any]) -> None:
    assert exported["cached"] is False
    again = cli("export", "--json").ok().document
    assert again["cached"] is True
    assert listed(again) == listed(exported)


def test_one_merge_serves_every_gguf(cli: Cli, exported: dict[str, Any]) -> None:
    document = cli("export", "-q", "f16", "-q", "q8_0", "--json").ok().document
    assert [name for name, _, _ in listed(document)] == ["Modelfile", "tiny-f16.gguf", "Modelfile", "tiny-q8_0.gguf"]
    assert [artifact["cached"] for artifact in document["artifacts"]] == [False, False]
    assert cli("export", "--merged", "--json").ok().document["fingerprint"] == exported["fingerprint"]


def test_one_merge_serves_the_one_in_4_bit(cli: Cli, exported: dict[str, Any], home: Path) -> None:
    document = cli("export", "--merged", "4bit", "--json").ok().document
    assert [(each["phase"], each["cached"]) for each in document["artifacts"]] == [("merge-4bit", False)]
    both = cli("export", "16bit", "4bit", "-o", "away", "--json").ok().document
    assert [(each["phase"], each["cached"]) for each in both["artifacts"]] == [("merge", True), ("merge-4bit", True)]
    assert both["artifacts"][0]["fingerprint"] == exported["fingerprint"]
    assert sorted(path.name for path in (home / "away").iterdir()) == ["merge", "merge-4bit"]


def test_the_worker_that_rounds_finds_everything_from_wherever_it_runs(exported: object) -> None:
    workspace = Workspace.open(Path(".twinctl"))
    found = merge_4bit.plan(RunView(workspace, workspace.run(None)), Merge4bitRecipe()).resolve_inputs()
    assert all(path.is_absolute() for path in (found.model, found.reference.folder))


def test_a_gguf_is_never_made_from_the_one_in_4_bit(cli: Cli, exported: dict[str, Any]) -> None:
    of_16 = cli("export", "-q", "f16", "--json").ok().document["fingerprint"]
    cli("export", "4bit").ok()
    again = cli("export", "-q", "f16", "--json").ok().document
    assert (again["fingerprint"], again["cached"]) == (of_16, True)


def test_a_precision_that_there_is_not(cli: Cli, trained: object) -> None:
    done = cli("export", "--merged", "5bit")
    assert done.code == 3
    assert "(from --merged): Input should be '16bit' or '4bit'" in done.err


def test_a_folder_that_cannot_take_the_files_is_refused_before_any_work(cli: Cli, trained: object, home: Path) -> None:
    (home / "away").write_text("a file")
    for place in ("away", "away/deeper/still"):
        done = cli("export", "--gguf", "-o", place)
        assert done.code == 3
        assert f"{home / 'away'} is there and is no folder" in done.err
    assert [phase["slot"] for phase in cli("status", "--json").document["runs"][0]["phases"]] == ["prepare", "train"]


def test_quantisations_of_the_config_file(cli: Cli, trained: object, home: Path) -> None:
    (home / "twinctl.toml").write_text('[export]\nquant = ["bf16", "f16"]\n')
    document = cli("export", "--gguf", "--json").ok().document
    assert [name for name, _, _ in listed(document)] == ["Modelfile", "tiny-bf16.gguf", "Modelfile", "tiny-f16.gguf"]


def test_adapter_is_handed_out_as_it_was_trained(cli: Cli, trained: dict[str, Any]) -> None:
    document = cli("export", "--adapter", "--json").ok().document
    assert (document["path"], document["cached"]) == (trained["path"], True)
    assert listed(document) == on_disk(trained["path"])


def test_push_would_send_the_files_of_the_record(cli: Cli, exported: dict[str, Any]) -> None:
    (Path(exported["path"]) / "notes-of-mine.txt").write_text("not part of it")
    document = cli("push", "me/my-twin", "--dry-run", "--json").ok().document
    assert sent(document) == listed(exported)
    metrics = document["metrics"]
    assert (document["state"], metrics["repo"], metrics["private"]) == ("dry-run", "me/my-twin", True)
    assert metrics["bytes"] == sum(size for _, size, _ in listed(document))
    shown = cli("push", "me/my-twin", "--dry-run").ok()
    assert "to the private model repository me/my-twin: merged 16-bit model" in shown.out.splitlines()[0]
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == [name for name, _, _ in listed(document)]
    assert "nothing was sent" in shown.err


def test_push_of_each_kind(cli: Cli, exported: object) -> None:
    cli("export", "--gguf").ok()
    for flag, name in (("--adapter", "adapter_model.safetensors"), ("--gguf", "tiny-q4_k_m.gguf")):
        document = cli("push", "me/my-twin", flag, "--dry-run", "--json").ok().document
        assert name in [file[0] for file in listed(document)]


@pytest.mark.parametrize("keep_time", [True, False])
def test_file_edited_in_place_is_not_pushed(cli: Cli, exported: dict[str, Any], keep_time: bool) -> None:
    import os

    path = Path(exported["path"]) / "model.safetensors"
    before = path.stat()
    path.write_bytes(b"Merged" + path.read_bytes()[6:])
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    shown = cli("push", "me/my-twin", "--dry-run")
    assert (shown.code, shown.out) == (4, "")
    assert str(path) in shown.err
    assert "twinctl export --run tiny --restart" in shown.err


def test_hint_mends_the_edited_file(cli: Cli, exported: dict[str, Any]) -> None:
    path = Path(exported["path"]) / "model.safetensors"
    path.write_bytes(b"broken")
    assert cli("push", "me/my-twin", "--dry-run").code == 4
    cli("export", "--restart").ok()
    document = cli("push", "me/my-twin", "--dry-run", "--json").ok().document
    assert sent(document) == listed(exported)


def test_a_merge_of_an_older_adapter_is_stale_and_not_pushed(cli: Cli, exported: dict[str, Any]) -> None:
    cli("export", "-q", "q8_0").ok()
    cli("train", "--rank", "64").ok()
    (run,) = cli("status", "--json").ok().document["runs"]
    states = {line["slot"]: (line["state"], line["reasons"]) for line in run["phases"]}
    why = ["train was rebuilt: train.rank 32 → 64"]
    assert states["merge"] == states["gguf-q8_0"] == ("stale", why)
    for kind in ("--merged", "--gguf"):
        shown = cli("push", "me/my-twin", kind, "--dry-run")
        assert (shown.code, shown.out) == (4, "")
        assert why[0] in shown.err
    assert why[0] in cli("path", "model").ok().err
    cli("export").ok()
    assert cli("path", "model").ok().err == ""
    cli("push", "me/my-twin", "--dry-run").ok()


def test_export_takes_what_was_trained_last_not_what_is_newest(cli: Cli, trained: dict[str, Any]) -> None:
    """A full training, then a merge, then the full training again from the cache: the merge is newer, and not it."""
    full = cli("train", "--method", "full", "--json").ok().document
    cli("train").ok()
    merged = cli("export", "--json").ok().document
    assert merged["path"] != full["path"]
    assert cli("train", "--method", "full", "--json").ok().document["cached"] is True
    assert cli("export", "--json").ok().document["path"] == full["path"]
    assert cli("path", "model").ok().out.strip().endswith(full["path"])
    assert sent(cli("push", "me/my-twin", "--dry-run", "--json").ok().document) != listed(merged)


def test_an_adapter_is_not_merged_into_another_base(
    cli: Cli, trained: dict[str, Any], model: Path, prepare: list[str], tmp_path: Path
) -> None:
    import shutil

    other = shutil.copytree(model, tmp_path / "other-model")
    config = other / "config.json"
    config.write_text(config.read_text() + "\n")
    words = [str(other) if word == str(model) else word for word in prepare]
    cli(*words).ok()
    for command in (["export"], ["chat", "-p", "hello"]):
        shown = cli(*command)
        assert shown.code == 4, shown
        assert "another base model" in shown.err
        assert "twinctl train --run tiny" in shown.err


def test_a_merge_that_does_not_fit_on_the_disk_is_refused_before_it_starts(
    cli: Cli, trained: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    document = cli("export", "--json").document
    assert document["error"]["code"] == "ConfigError"
    assert "the merged model needs" in document["error"]["message"]
    assert "twinctl clean" in document["error"]["hint"]
