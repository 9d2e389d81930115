"""Rows that are too long, and what of a row is learnt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.audit import ALL_OF_IT, add_special, prepared_from, row_of, talk
from tests.support.commands import Cli
from tests.support.prepared import Prepare
from tests.support.stand_ins import make_model, rows
from tests.support.tokenizers import BOS, EOS

LONG = " ".join(f"Wave {number} came in." for number in range(60))
OVERLONG = [row_of("What is a wave?", LONG), row_of("Long?" * 100, "Yes."), *rows(3)]


def test_overlong_rows_are_dropped(prepares: Prepare, home: Path) -> None:
    prepared = prepared_from(prepares, home, OVERLONG)
    assert prepared.metrics["rows_dropped"] == {"over max length": 2}
    assert prepared.metrics["cleaned"] == {}
    assert {sample.place for sample in prepared.samples} == {f"posts.jsonl:{line}" for line in (3, 4, 5)}
    assert prepared.adds_up()


@pytest.mark.parametrize("loss", ["all", "completion"])
def test_overlong_rows_are_truncated(prepares: Prepare, home: Path, loss: str) -> None:
    prepared = prepared_from(prepares, home, OVERLONG, "--overlong", "truncate", "--loss", loss, *ALL_OF_IT)
    assert prepared.metrics["cleaned"] == {"truncated": 1}
    assert prepared.metrics["rows_dropped"] == {"over max length": 1}  # of whose answer nothing would be left
    assert all(text.endswith(EOS) for text in prepared.texts)
    (cut,) = [sample for sample in prepared.samples if sample.place == "posts.jsonl:1"]
    assert len(cut.ids) == prepared.metrics["longest"] == 256
    answer = cut.text.partition("### Response:\n")[2].removesuffix(EOS)
    assert LONG.startswith(answer) and len(answer) > 50
    assert cut.learnt == ([cut.text] if loss == "all" else [answer + EOS])
    assert prepared.adds_up()


def test_a_cut_is_never_inside_a_character(prepares: Prepare, home: Path) -> None:
    values = [row_of("x" * length, "🙂" * 100) for length in range(1, 9)]
    prepared = prepared_from(prepares, home, values, "--overlong", "truncate", *ALL_OF_IT)
    assert prepared.metrics["cleaned"] == {"truncated": 8}
    assert [text for text in prepared.texts if not re.fullmatch(r".*\n🙂+", text.removesuffix(EOS), re.DOTALL)] == []
    assert {256 - len(sample.ids) for sample in prepared.samples} <= {0, 1, 2, 3}


@pytest.mark.parametrize("loss", ["all", "completion"])
def test_overlong_rows_are_split(prepares: Prepare, home: Path, loss: str) -> None:
    prepared = prepared_from(prepares, home, OVERLONG, "--overlong", "split", "--loss", loss, *ALL_OF_IT)
    assert prepared.metrics["cleaned"] == {"split": 1}
    assert prepared.metrics["rows_dropped"] == {"over max length": 1}
    assert all(sample.text.endswith(EOS) and len(sample.ids) <= 256 for sample in prepared.samples)
    parts = [sample for sample in prepared.samples if sample.document == "posts.jsonl:1"]
    assert [sample.place for sample in parts] == [f"posts.jsonl:1/{number}" for number in range(1, len(parts) + 1)]
    answers = [sample.text.partition("### Response:\n")[2].removesuffix(EOS) for sample in parts]
    assert len(answers) > 5 and " ".join(answers) == LONG
    questions = [sample.text.partition("### Instruction:\n")[2].partition("\n\n### Resp")[0] for sample in parts]
    assert questions == ["What is a wave?", *(f"What is a wave?\n\n(part {n})" for n in range(2, len(parts) + 1))]
    if loss == "completion":
        assert [sample.learnt for sample in parts] == [[answer + EOS] for answer in answers]


def test_a_long_talk_is_split_between_its_turns(prepares: Prepare, home: Path) -> None:
    turns = [f"{kind} {number}, as the keeper said?" for number in range(8) for kind in ("Question", "Answer")]
    values = [talk(*turns, system="You keep the light."), *rows(1)]
    prepared = prepared_from(prepares, home, values, "--overlong", "split", *ALL_OF_IT)
    parts = [sample.text for sample in prepared.samples if sample.document == "posts.jsonl:1"]
    assert len(parts) > 1 and prepared.metrics["rows_dropped"] == {}
    assert all(text.startswith(f"{BOS}You keep the light.") for text in parts)
    said = [found for text in parts for found in re.findall(r"(?:Question|Answer) \d, as the keeper said\?", text)]
    assert said == turns


def test_a_turn_that_fits_nowhere_is_counted_and_its_neighbours_are_not_joined(prepares: Prepare, home: Path) -> None:
    values = [talk("One?", "First.", "Long? " * 100, "Second.", "Three?", "Third.")]
    prepared = prepared_from(prepares, home, values, "--overlong", "split", *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"over max length": 1}
    assert [re.findall("First|Second|Third", text) for text in prepared.texts] == [["First"], ["Third"]]


def test_many_overlong_rows_are_warned_of_with_flags_that_help(prepares: Prepare, home: Path) -> None:
    def about_length(*words: str) -> list[str]:
        warnings = prepared_from(prepares, home, [OVERLONG[0], *rows(5)], *words).document["warnings"]
        return [warning for warning in warnings if "over 256 tokens" in warning]

    (warning,) = about_length()
    assert warning.startswith("1 of 6 rows are over 256 tokens: --max-length, or --overlong split")
    assert about_length("--max-length", "1000") == []
    assert about_length("--overlong", "split") == []


def test_all_tokens_are_learnt_as_in_the_book(prepares: Prepare, home: Path) -> None:
    prepared = prepared_from(prepares, home, rows(4), *ALL_OF_IT)
    assert all(sample.learnt == [sample.text] for sample in prepared.samples)
    assert prepared.metrics["trained_tokens"] == prepared.metrics["tokens"]


@pytest.mark.parametrize(
    ("template", "asked"),
    [("alpaca", "### Instruction:\n{}\n\n### Response:\n"), ("chatml", "<|im_start|>user\n{}<|im_end|>\n")],
)
def test_answers_alone_are_learnt_each_with_its_eos(
    cli: Cli, home: Path, prepares: Prepare, template: str, asked: str
) -> None:
    model = home / "chat"
    make_model(model)
    add_special(model, "<|im_start|>", "<|im_end|>")
    eos = EOS if template == "alpaca" else "<|im_end|>"
    values = [
        *rows(4),
        talk("Who?", "The keeper.", "When?", "At night.", "Why?", "No\n\nreason.", system="Be brief."),
    ]
    words = ["--model", str(model), "--template", template, "--max-length", "400", "--loss", "completion", *ALL_OF_IT]
    prepared = prepared_from(prepares, home, values, *words)
    *single, long = prepared.samples
    assert [sample.learnt for sample in single] == [[f"It is for ship number {n}.{eos}"] for n in range(4)]
    assert long.learnt == [f"The keeper.{eos}", f"At night.{eos}", f"No\n\nreason.{eos}"]
    assert all(asked.format(question) in long.text for question in ("Who?", "When?", "Why?"))
    assert prepared.metrics["trained_tokens"] < prepared.metrics["tokens"] / 2
