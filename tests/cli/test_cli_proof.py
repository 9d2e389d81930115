"""What was made without a proof gets it later, as it lies there; what has one is proven again; nothing is made anew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.errors import CheckFailed
from twinctl.verification import isolated_process, verify
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.lock import Lock

SUMMARY = {"kl": 2e-6, "top1": 0.995, "positions": 3072}
FOUND = {"checks": {"distributions": SUMMARY}}


class Report:
    """Stands in for a VerificationReport."""

    def summary(self) -> dict[str, Any]:
        return SUMMARY

    def document(self) -> dict[str, Any]:
        return FOUND


class Proofs:
    """Stands in for asking models; `asked` are the file or folder names, and "reference", in turn."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wrong = ""

    def reference(self, folder: Path, trained: Any, **others: Any) -> None:
        self.asked.append("reference")
        folder.mkdir()

    def model(self, folder: Path, reference: Path, kind: str, **others: Any) -> Report:
        return self._found(kind, reference)

    def gguf(self, file: Path, quant: str, reference: Path, **others: Any) -> Report:
        return self._found(file.name, reference)

    def _found(self, name: str, reference: Path) -> Report:
        assert reference.is_dir()
        self.asked.append(name)
        if self.wrong:
            raise CheckFailed(self.wrong)
        return Report()


@pytest.fixture
def proofs(trained: object, monkeypatch: pytest.MonkeyPatch) -> Proofs:
    found = Proofs()
    monkeypatch.setattr(isolated_process, "make_reference", found.reference)
    monkeypatch.setattr(verify, "prove_merged", found.model)
    monkeypatch.setattr(verify, "prove_gguf", found.gguf)
    return found


def unproven(cli: Cli) -> dict[str, str | None]:
    """What status says to type for each result without a proof."""
    phases = cli("status", "--json").ok().document["runs"][0]["phases"]
    return {phase["slot"]: phase["type"] for phase in phases if phase.get("unproven")}


def record(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(document["path"]).parent / "record.json").read_text())
    return found


def test_what_status_says_to_type_proves_what_is_there(cli: Cli, proofs: Proofs) -> None:
    files = ("16bit", "4bit", "-q", "f16")
    made = cli("export", *files, "--no-verify", "--json").ok().document["artifacts"]
    assert proofs.asked == []
    assert "not proven: made with --no-verify" in cli("status").ok().out
    wanted = unproven(cli)
    assert wanted == {
        "merge": "twinctl export --verify --run tiny",
        "merge-4bit": "twinctl export 4bit --verify --run tiny",
        "gguf-f16": "twinctl export -q f16 --verify --run tiny",
    }
    for line in wanted.values():
        assert line is not None
        cli(*line.split()[1:]).ok()
    assert unproven(cli) == {}
    assert proofs.asked == ["reference", "16bit", "4bit", "tiny-f16.gguf"]
    again = cli("export", *files, "--json").ok().document["artifacts"]
    assert [each["path"] for each in again] == [each["path"] for each in made]
    assert [each["cached"] for each in again] == [True] * 3
    assert all(each["metrics"]["proof"]["kl"] == 2e-6 for each in again)
    assert len(proofs.asked) == 4


def test_the_report_lies_beside_the_file_and_in_the_record(cli: Cli, proofs: Proofs) -> None:
    before = record(cli("export", "--no-verify", "--json").ok().document)
    document = cli("export", "--json").ok().document
    after, report = record(document), Path(document["path"]) / "proof.json"
    assert json.loads(report.read_text()) == FOUND
    assert [file["name"] for file in after["files"]] == [*(file["name"] for file in before["files"]), "proof.json"]
    assert after["digest"] == before["digest"], "a GGUF file made before stays as it is"
    cli("status", "--verify").ok()
    report.write_text("{}")
    assert cli("status", "--verify").code == 4


def test_a_file_is_the_same_proven_or_not(cli: Cli, proofs: Proofs) -> None:
    first = cli("export", "--gguf", "--json").ok().document
    again = cli("export", "--gguf", "--no-verify", "--json").ok().document
    assert (again["fingerprint"], again["cached"]) == (first["fingerprint"], True)
    assert again["metrics"]["proof"] is not None
    assert proofs.asked == []


def test_verify_asks_again_and_leaves_the_record_alone(cli: Cli, proofs: Proofs) -> None:
    document = cli("export", "--json").ok().document
    before = record(document)
    shown = cli("export", "--verify").ok()
    assert proofs.asked == ["reference", "16bit"]
    assert "merge: comparing every byte with what was written" in shown.err
    assert record(document) == before


def test_a_workspace_that_is_read_only_is_proven_too(cli: Cli, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    document = cli("export", "--no-verify", "--json").ok().document
    writable = os.access
    held = Path(document["path"]).parent.resolve()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).resolve() != held and writable(path, mode))
    before = sorted(path.name for path in held.rglob("*"))
    cli("export", "--verify").ok()
    assert proofs.asked == ["reference", "16bit"]
    assert sorted(path.name for path in held.rglob("*")) == before
    assert list(unproven(cli)) == ["merge"]


def test_two_at_once_prove_it_once(cli: Cli, proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    document = cli("export", "--no-verify", "--json").ok().document
    folder = Path(document["path"]).parent
    lock = Lock(folder.resolve())
    lock.acquire(wait=False)
    busy = cli("export")
    assert (busy.code, proofs.asked) == (5, [])
    assert "--wait" in busy.err

    def sleep(seconds: float) -> None:
        """The other one is done."""
        Artifact(folder).amend(folder / "out/config.json", proof=SUMMARY)
        lock.release()

    monkeypatch.setattr("twinctl.workspace.lock.time.sleep", sleep)
    waited = cli("export", "--wait", "--json").ok().document
    assert (waited["metrics"]["proof"]["kl"], proofs.asked) == (2e-6, [])


def test_what_became_of_a_proof_is_in_the_log(cli: Cli, proofs: Proofs) -> None:
    cli("export", "--no-verify").ok()
    proofs.wrong = "the mean KL is 0.3"
    done = cli("export")
    assert "the mean KL is 0.3" in done.err
    assert "failed: the mean KL is 0.3" in cli("logs", "merge").ok().out


def test_what_is_made_now_is_proven_once(cli: Cli, proofs: Proofs) -> None:
    cli("export", "--gguf", "--verify").ok()
    assert proofs.asked == []


def test_the_merge_is_proven_before_the_file_that_is_made_of_it(cli: Cli, proofs: Proofs) -> None:
    cli("export", "--gguf", "--no-verify").ok()
    proofs.wrong = "the merged model is not the model that was trained"
    done = cli("export", "--gguf")
    assert done.code == 8
    assert proofs.asked == ["reference", "16bit"]
    assert list(unproven(cli)) == ["merge", "gguf-q4_k_m"]
    proofs.wrong = ""
    cli("export", "--gguf").ok()
    assert proofs.asked[2:] == ["16bit", "tiny-q4_k_m.gguf"], "the reference is kept beside the merge"


def test_a_push_of_what_is_not_proven_says_how_to_prove_it(cli: Cli, proofs: Proofs) -> None:
    cli("export", "--no-verify").ok()
    done = cli("push", "me/my-twin", "--dry-run")
    assert done.code == 8
    line = done.err.split("prove it: ")[1].split(";")[0]
    cli(*line.split()[1:]).ok()
    names = [
        file["name"] for file in cli("push", "me/my-twin", "--dry-run", "--json").ok().document["metrics"]["files"]
    ]
    assert "proof.json" in names
