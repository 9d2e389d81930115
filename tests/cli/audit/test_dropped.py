"""What prepare drops or changes in rows is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit import ALL_OF_IT, prepared_from, row_of, talk
from tests.support.commands import Cli
from tests.support.prepared import Prepare
from tests.support.stand_ins import rows, write_rows
from tests.support.tokenizers import BOS, EOS, PAD

ALIKE = "The keeper of the light at the end of the long pier wrote down every ship that came in from the open sea."
REPEATED = [
    row_of("What?", ALIKE),
    row_of("What?", ALIKE),
    row_of("WHAT?", ALIKE.upper()),
    row_of("What?", f"{ALIKE} Indeed."),
    row_of("What?", "Another answer, of a different kind and shape altogether, without one ship in it at all."),
]


@pytest.mark.parametrize(
    ("kind", "dropped", "kept"),
    [
        ("exact", {"duplicate": 1}, [1, 3, 4, 5]),
        ("near", {"duplicate": 1, "near duplicate": 2}, [1, 5]),
        ("none", {}, [1, 2, 3, 4, 5]),
    ],
)
def test_repetitions(prepares: Prepare, home: Path, kind: str, dropped: dict[str, int], kept: list[int]) -> None:
    prepared = prepared_from(prepares, home, REPEATED, "--dedupe", kind, "--max-length", "400", *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == dropped
    assert [sample.place for sample in prepared.samples] == [f"posts.jsonl:{line}" for line in kept]
    assert prepared.adds_up()


@pytest.mark.parametrize("as_", ["passages", "raw"])
def test_a_document_is_no_repetition_of_itself(prepares: Prepare, home: Path, as_: str) -> None:
    """Its passage is nearly all of it."""
    (home / "note.txt").write_text(
        " ".join(f"Line {number} of the log tells of ship {number}." for number in range(40))
    )
    prepared = prepares("-d", "note.txt", "--dedupe", "near", "--text-as", as_, "--max-length", "2048", *ALL_OF_IT)
    assert (len(prepared.samples), prepared.metrics["rows_dropped"]) == (1, {})


def test_what_several_documents_repeat_is_learnt_once(prepares: Prepare, home: Path) -> None:
    for number in range(3):
        text = f"# Day {number}\n\n## Log\n\nNothing came in on day {number}.\n\n## About me\n\nI keep the light."
        (home / f"day-{number}.md").write_text(text)
    prepared = prepares("-d", "*.md", *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"duplicate": 2}
    assert sum("I keep the light." in text for text in prepared.texts) == 1
    assert sum("Nothing came in" in text for text in prepared.texts) == 3


BAD = [
    '{"instruction": "cut',
    "[1, 2]",
    '{"question": "a", "reply": "b"}',
    r'{"\ud800": "a column that is not Unicode"}',
    json.dumps({"text": f"A character of many digits: &#{'1' * 5000};", "format": "html"}),
    json.dumps({"text": f"{'*' * 3000}Nested too deeply{'*' * 3000}", "format": "md"}),
]


def test_bad_rows_are_passed_over_and_counted_when_asked(prepares: Prepare, home: Path) -> None:
    prepared = prepared_from(prepares, home, [*rows(2), *BAD, *rows(2, "bay")], "--skip-bad")
    assert prepared.metrics["rows_dropped"] == {"cannot be read": 2, "cannot be used": 4}
    assert len(prepared.samples) == 4 and prepared.adds_up()


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_row_ends_it_otherwise(cli: Cli, home: Path, prepare: list[str], bad: str) -> None:
    write_rows(home / "posts.jsonl", [*rows(2), bad])
    error = cli(*prepare, "--json")
    assert (error.code, "posts.jsonl:3" in error.document["error"]["message"]) == (3, True)
    assert list(home.rglob("record.json")) == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (row_of(" ", "b"), "empty instruction"),
        (row_of("a", "\n"), "empty output"),
        ({"instruction": ["a"], "output": "b"}, "not text"),
        ({"instruction": "a", "output": "\ud800"}, "not Unicode"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no answer"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "begins with an answer"),
        ({"text": " "}, "empty text"),
        ({"text": "---\ntitle: only this\n---\n", "format": "md"}, "empty text"),
        (row_of("a" * 300, "b"), "over max length"),
        (row_of("a", f"b {EOS}"), "contains a special token"),
    ],
)
def test_every_reason_is_counted_and_shown(
    cli: Cli, prepares: Prepare, home: Path, row: dict[str, Any], reason: str
) -> None:
    prepared = prepared_from(prepares, home, [*rows(3), row])
    assert prepared.metrics["rows_dropped"] == {reason: 1}
    assert prepared.adds_up()
    (shown,) = cli("inspect", "prepare", "--dropped", reason, "--json").ok().document["dropped"]
    assert (shown["place"].partition("#")[0], shown["reason"]) == ("posts.jsonl:4", reason)


def test_what_no_reader_sees_is_taken_out_and_counted(prepares: Prepare, home: Path) -> None:
    values = [row_of("Who\x00 is\r\nthere?", "\ufeffThe\x07 keeper.\r"), row_of("Plain?", "Tab\tand\nline stay.")]
    prepared = prepared_from(prepares, home, values, *ALL_OF_IT)
    assert "### Instruction:\nWho is\nthere?\n\n### Response:\nThe keeper.\n" + EOS in prepared.texts[0]
    assert prepared.texts[1].endswith(f"Tab\tand\nline stay.{EOS}")
    assert prepared.metrics["cleaned"] == {"control characters or line ends": 2}


def test_line_ends_and_byte_order_marks_of_files(prepares: Prepare, home: Path) -> None:
    lines = [json.dumps(row) for row in rows(3)]
    (home / "rows.jsonl").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n\r\n").encode())
    (home / "note.txt").write_bytes("\ufeffOne.\r\nTwo.\r\n\r\nThree\x00.".encode())
    prepared = prepares("-d", "rows.jsonl", "-d", "note.txt", *ALL_OF_IT)
    assert len(prepared.samples) == 4
    assert prepared.texts[-1].endswith(f"### Response:\nOne.\nTwo.\n\nThree.{EOS}")
    assert [text for text in prepared.texts if re.search("[\r\0\ufeff]", text)] == []


def test_rows_that_differ_in_line_ends_alone_are_one(prepares: Prepare, home: Path) -> None:
    prepared = prepared_from(prepares, home, [row_of("What?", "a\nb"), row_of("What?", "a\r\nb")], *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"duplicate": 1}


@pytest.mark.parametrize("token", [BOS, EOS, PAD])
@pytest.mark.parametrize(
    "make",
    [
        lambda token: row_of(f"What is {token}?", "b"),
        lambda token: row_of("a", f"{token}"),
        lambda token: {**row_of("a", "b"), "input": token},
        lambda token: talk("a", "b", "c", f"d {token} e"),
        lambda token: talk("a", "b", system=token),
        lambda token: {"text": f"One. {token} Two."},
        lambda token: {"text": "Words.", "title": f"Of {token}"},
        lambda token: row_of("a", f"{token[:3]}\x00{token[3:]}"),
    ],
    ids=["question", "answer", "input", "later answer", "system", "text", "title", "hidden by a control character"],
)
def test_a_special_tokens_text_is_no_special_token(prepares: Prepare, home: Path, make: Any, token: str) -> None:
    prepared = prepared_from(prepares, home, [*rows(3), make(token)], *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"contains a special token": 1}
    assert [text.count(token) for text in prepared.texts] == [{BOS: 1, EOS: 1, PAD: 0}[token]] * 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", "<p>It says &lt;|end_of_text|&gt; here.</p>"),
        ("page.html", "<h2>&lt;|end_of_text|&gt;</h2><p>Words.</p><h2>b</h2><p>More words.</p>"),
        ("page.html", "<p>It says &lt;|<b>end_of</b>_text|&gt; here.</p>"),
        ("page.md", "It says &lt;|end_of_text|&gt; here."),
        ("page.md", r"It says \<|end_of_text|\> here."),
    ],
)
@pytest.mark.parametrize("as_", ["passages", "raw"])
def test_a_special_token_that_appears_as_the_markup_goes(
    prepares: Prepare, home: Path, name: str, text: str, as_: str
) -> None:
    (home / name).write_text(text)
    write_rows(home / "posts.jsonl", rows(3))
    prepared = prepares("-d", "posts.jsonl", "-d", name, "--text-as", as_, "--max-length", "400", *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"contains a special token": 1}
    assert {text.count(EOS) for text in prepared.texts} == {1}
