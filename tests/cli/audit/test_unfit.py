"""What is not fit to train on is never committed, and what is unwise is warned of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import prepared_from, talk
from tests.support.commands import Cli
from tests.support.prepared import Prepare
from tests.support.stand_ins import rows, write_rows
from tests.support.tokenizers import BOS, EOS, PAD
from twinctl.data.tokenizer import TextTokenizer


def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that gives other words back for the rows of ship 3 and 5, and other ids for those."""
    decode = TextTokenizer.decode

    def other(self: TextTokenizer, ids: list[list[int]]) -> list[str]:
        return [re.sub(r"ship number ([35]\.)", r"\1", text) for text in decode(self, ids)]

    monkeypatch.setattr(TextTokenizer, "decode", other)


def _endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that loses the stop token of two rows."""
    encode = TextTokenizer.encode

    def short(self: TextTokenizer, texts: list[str]) -> list[list[int]]:
        lost = re.compile(r"ship number [35]\.")
        return [ids[:-1] if lost.search(text) else ids for text, ids in zip(texts, encode(self, texts), strict=True)]

    monkeypatch.setattr(TextTokenizer, "encode", short)


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose embedding ends before the last special token, PAD."""
    monkeypatch.setattr("twinctl.data.preparation.special_pattern", lambda _: re.compile("(?!)"))
    write_rows(
        Path("posts.jsonl"), [{**row, "output": row["output"] + PAD * (n in (3, 5))} for n, row in enumerate(rows(60))]
    )
    load = TextTokenizer.load.__func__  # type: ignore[attr-defined]

    def smaller(cls: type[TextTokenizer], folder: Path) -> TextTokenizer:
        from dataclasses import replace

        found: TextTokenizer = load(cls, folder)
        return replace(found, vocabulary=found.vocabulary - 1)

    monkeypatch.setattr(TextTokenizer, "load", classmethod(smaller))


def _doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that write a BOS of their own."""
    monkeypatch.setattr("twinctl.data.preparation.special_pattern", lambda _: re.compile("(?!)"))
    talks = [
        talk(row["instruction"], row["output"], system=BOS if n in (3, 5) else "So.") for n, row in enumerate(rows(60))
    ]
    write_rows(Path("posts.jsonl"), talks)


@pytest.mark.parametrize(
    ("break_", "says"),
    [
        (_forgetful, "2 samples are not the same tokens when their text is read again"),
        (_endless, f"2 samples do not end with a learnt {EOS}"),
        (_small, "2 samples have token ids beyond the model's embedding"),
        (_doubled, f"2 samples begin with two {BOS}"),
    ],
)
def test_a_failed_audit_names_the_rows_and_commits_nothing(
    cli: Cli, home: Path, prepare: list[str], monkeypatch: pytest.MonkeyPatch, break_: Any, says: str
) -> None:
    with monkeypatch.context() as patch:
        break_(patch)
        failed = cli(*prepare, "--json")
        assert failed.code == 8
        error = failed.document["error"]
        assert (error["code"], error["message"].startswith(says)) == ("CheckFailed", True), error
        assert error["message"].endswith(": posts.jsonl:4, posts.jsonl:6")
        assert "nothing was committed" in error["hint"]
        shown = cli(*prepare)
        assert (shown.code, shown.out, f"error: {error['message']}" in shown.err) == (8, "", True)
    assert list(home.rglob("record.json")) == []
    (phase,) = cli("status", "--json").ok().document["runs"][0]["phases"]
    assert (phase["state"], phase["failure"]) == ("failed", error["message"])
    assert cli("train").code == 4
    write_rows(home / "posts.jsonl", rows(60))
    assert cli(*prepare, "--json").ok().document["cached"] is False


def test_a_warm_up_over_a_tenth_is_warned_of_with_a_flag_that_ends_it(
    prepares: Prepare, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared_from(prepares, home, rows(60))
    (warning,) = first.document["warnings"]
    steps = first.document["training"]["steps"]
    found = re.fullmatch(r"10 of (\d+) training steps would be warm-up: train --warmup-steps (\d+), or .*", warning)
    assert found and (int(found[1]), int(found[2])) == (steps, steps // 10)
    monkeypatch.setenv("TWINCTL_TRAIN_WARMUP_STEPS", found[2])
    assert prepares("-d", "posts.jsonl").document["warnings"] == []
    monkeypatch.setenv("TWINCTL_TRAIN_WARMUP_STEPS", str(int(found[2]) + 1))
    assert len(prepares("-d", "posts.jsonl").document["warnings"]) == 1
    monkeypatch.delenv("TWINCTL_TRAIN_WARMUP_STEPS")
    monkeypatch.setenv("TWINCTL_TRAIN_EPOCHS", "10")  # the other way that it names
    assert prepares("-d", "posts.jsonl").document["warnings"] == []


def test_too_small_a_share_of_the_author_is_warned_of_with_a_flag_that_ends_it(
    cli: Cli, prepares: Prepare, home: Path
) -> None:
    write_rows(home / "general.jsonl", rows(60, "moon"))
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["general.jsonl"]\n[train]\nwarmup_steps = 0\n')
    (warning,) = prepared_from(prepares, home, rows(6), "--general", "60").document["warnings"]
    found = re.fullmatch(r"the author's are 9% of the tokens: --general (\d+), or add writing with -d", warning)
    assert found
    assert prepares("-d", "posts.jsonl", "--general", found[1]).document["warnings"] == []
    write_rows(home / "more.jsonl", rows(6, "star"))
    assert prepares("-d", "posts.jsonl", "-d", "more.jsonl", "--general", "60").document["warnings"] == []
    assert prepares("-d", "posts.jsonl").document["warnings"] == []  # the book's measure


def test_steps_follow_from_the_settings_of_train(
    prepares: Prepare, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "twinctl.toml").write_text("[train]\nbatch_size = 8\nepochs = 1.5\nwarmup_steps = 0\npacking = false\n")
    prepared = prepared_from(prepares, home, rows(60))
    an_epoch = -(-prepared.metrics["train_rows"] // 8)
    assert prepared.document["training"] == {
        "steps": -(-an_epoch * 3 // 2),
        "steps_per_epoch": an_epoch,
        "batch_size": 8,
    }
    monkeypatch.setenv("TWINCTL_TRAIN_MAX_STEPS", "5")
    assert prepares("-d", "posts.jsonl").document["training"]["steps"] == 5


def test_a_wrong_setting_of_train_does_not_keep_from_preparing(prepares: Prepare, home: Path) -> None:
    (home / "twinctl.toml").write_text("[train]\nrank = 0\n")
    (warning,) = prepared_from(prepares, home, rows(60)).document["warnings"]
    assert warning.startswith("training would be refused: train.rank = 0 (from twinctl.toml)")
