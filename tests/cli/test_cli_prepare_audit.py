"""prepare: what it drops, cuts, masks and holds out is counted; what is not fit to train on is never committed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, TRAIN

from .conftest import Cli
from .prepared import Prepare, Prepared
from .stand_ins import BOS, EOS, PAD, make_model, rows, write_rows

ALL_OF_IT = ["--eval-fraction", "0"]


def _row(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "output": answer}


def _talk(*texts: str, system: str | None = None) -> dict[str, Any]:
    """Question, answer, question, answer, …"""
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def _prepared(prepares: Prepare, home: Path, values: list[Any], *words: str) -> Prepared:
    write_rows(home / "posts.jsonl", values)
    return prepares("-d", "posts.jsonl", *words)


# Too long


LONG = " ".join(f"Wave {number} came in." for number in range(60))
OVERLONG = [_row("What is a wave?", LONG), _row("Long?" * 100, "Yes."), *rows(3)]


def test_overlong_rows_are_dropped(prepares: Prepare, home: Path) -> None:
    prepared = _prepared(prepares, home, OVERLONG)
    assert prepared.metrics["rows_dropped"] == {"over max length": 2}
    assert prepared.metrics["cleaned"] == {}
    assert {sample.place for sample in prepared.samples} == {f"posts.jsonl:{line}" for line in (3, 4, 5)}
    assert prepared.adds_up()


@pytest.mark.parametrize("loss", ["all", "completion"])
def test_overlong_rows_are_truncated(prepares: Prepare, home: Path, loss: str) -> None:
    prepared = _prepared(prepares, home, OVERLONG, "--overlong", "truncate", "--loss", loss, *ALL_OF_IT)
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
    values = [_row("x" * length, "🙂" * 100) for length in range(1, 9)]
    prepared = _prepared(prepares, home, values, "--overlong", "truncate", *ALL_OF_IT)
    assert prepared.metrics["cleaned"] == {"truncated": 8}
    assert [text for text in prepared.texts if not re.fullmatch(r".*\n🙂+", text.removesuffix(EOS), re.DOTALL)] == []
    assert {256 - len(sample.ids) for sample in prepared.samples} <= {0, 1, 2, 3}


@pytest.mark.parametrize("loss", ["all", "completion"])
def test_overlong_rows_are_split(prepares: Prepare, home: Path, loss: str) -> None:
    prepared = _prepared(prepares, home, OVERLONG, "--overlong", "split", "--loss", loss, *ALL_OF_IT)
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
    values = [_talk(*turns, system="You keep the light."), *rows(1)]
    prepared = _prepared(prepares, home, values, "--overlong", "split", *ALL_OF_IT)
    parts = [sample.text for sample in prepared.samples if sample.document == "posts.jsonl:1"]
    assert len(parts) > 1 and prepared.metrics["rows_dropped"] == {}
    assert all(text.startswith(f"{BOS}You keep the light.") for text in parts)
    said = [found for text in parts for found in re.findall(r"(?:Question|Answer) \d, as the keeper said\?", text)]
    assert said == turns


def test_a_turn_that_fits_nowhere_is_counted_and_its_neighbours_are_not_joined(prepares: Prepare, home: Path) -> None:
    values = [_talk("One?", "First.", "Long? " * 100, "Second.", "Three?", "Third.")]
    prepared = _prepared(prepares, home, values, "--overlong", "split", *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"over max length": 1}
    assert [re.findall("First|Second|Third", text) for text in prepared.texts] == [["First"], ["Third"]]


def test_many_overlong_rows_are_warned_of_with_flags_that_help(prepares: Prepare, home: Path) -> None:
    def about_length(*words: str) -> list[str]:
        warnings = _prepared(prepares, home, [OVERLONG[0], *rows(5)], *words).document["warnings"]
        return [warning for warning in warnings if "over 256 tokens" in warning]

    (warning,) = about_length()
    assert warning.startswith("1 of 6 rows are over 256 tokens: --max-length, or --overlong split")
    assert about_length("--max-length", "1000") == []
    assert about_length("--overlong", "split") == []


# What is learnt


def test_all_tokens_are_learnt_as_in_the_book(prepares: Prepare, home: Path) -> None:
    prepared = _prepared(prepares, home, rows(4), *ALL_OF_IT)
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
    _add_special(model, "<|im_start|>", "<|im_end|>")
    eos = EOS if template == "alpaca" else "<|im_end|>"
    values = [*rows(4), _talk("Who?", "The keeper.", "When?", "At night.", "Why?", "No\n\nreason.", system="Be brief.")]
    words = ["--model", str(model), "--template", template, "--max-length", "400", "--loss", "completion", *ALL_OF_IT]
    prepared = _prepared(prepares, home, values, *words)
    *single, talk = prepared.samples
    assert [sample.learnt for sample in single] == [[f"It is for ship number {n}.{eos}"] for n in range(4)]
    assert talk.learnt == [f"The keeper.{eos}", f"At night.{eos}", f"No\n\nreason.{eos}"]
    assert all(asked.format(question) in talk.text for question in ("Who?", "When?", "Why?"))
    assert prepared.metrics["trained_tokens"] < prepared.metrics["tokens"] / 2


def _add_special(model: Path, *texts: str) -> None:
    """Give the stand-in's tokenizer more special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.add_special_tokens(list(texts))
    tokenizer.save(str(model / "tokenizer.json"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": tokenizer.get_vocab_size()}))


# Repetitions


ALIKE = "The keeper of the light at the end of the long pier wrote down every ship that came in from the open sea."
REPEATED = [
    _row("What?", ALIKE),
    _row("What?", ALIKE),
    _row("WHAT?", ALIKE.upper()),
    _row("What?", f"{ALIKE} Indeed."),
    _row("What?", "Another answer, of a different kind and shape altogether, without one ship in it at all."),
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
    prepared = _prepared(prepares, home, REPEATED, "--dedupe", kind, "--max-length", "400", *ALL_OF_IT)
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


# Bad rows


BAD = ['{"instruction": "cut', "[1, 2]", '{"question": "a", "reply": "b"}']


def test_bad_rows_are_passed_over_and_counted_when_asked(prepares: Prepare, home: Path) -> None:
    prepared = _prepared(prepares, home, [*rows(2), *BAD, *rows(2, "bay")], "--skip-bad")
    assert prepared.metrics["rows_dropped"] == {"cannot be read": 2, "cannot be used": 1}
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
        (_row(" ", "b"), "empty instruction"),
        (_row("a", "\n"), "empty output"),
        ({"instruction": ["a"], "output": "b"}, "not text"),
        ({"instruction": "a", "output": "\ud800"}, "not Unicode"),
        ({"messages": [{"role": "narrator", "content": "a"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no answer"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "begins with an answer"),
        ({"text": " "}, "empty text"),
        ({"text": "---\ntitle: only this\n---\n", "format": "md"}, "empty text"),
        (_row("a" * 300, "b"), "over max length"),
        (_row("a", f"b {EOS}"), "contains a special token"),
    ],
)
def test_every_reason_is_counted_and_shown(
    cli: Cli, prepares: Prepare, home: Path, row: dict[str, Any], reason: str
) -> None:
    prepared = _prepared(prepares, home, [*rows(3), row])
    assert prepared.metrics["rows_dropped"] == {reason: 1}
    assert prepared.adds_up()
    (shown,) = cli("inspect", "prepare", "--dropped", reason, "--json").ok().document["dropped"]
    assert (shown["place"].partition("#")[0], shown["reason"]) == ("posts.jsonl:4", reason)


# Characters


def test_what_no_reader_sees_is_taken_out_and_counted(prepares: Prepare, home: Path) -> None:
    values = [_row("Who\x00 is\r\nthere?", "\ufeffThe\x07 keeper.\r"), _row("Plain?", "Tab\tand\nline stay.")]
    prepared = _prepared(prepares, home, values, *ALL_OF_IT)
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
    prepared = _prepared(prepares, home, [_row("What?", "a\nb"), _row("What?", "a\r\nb")], *ALL_OF_IT)
    assert prepared.metrics["rows_dropped"] == {"duplicate": 1}


@pytest.mark.parametrize("token", [BOS, EOS, PAD])
@pytest.mark.parametrize(
    "make",
    [
        lambda token: _row(f"What is {token}?", "b"),
        lambda token: _row("a", f"{token}"),
        lambda token: {**_row("a", "b"), "input": token},
        lambda token: _talk("a", "b", "c", f"d {token} e"),
        lambda token: _talk("a", "b", system=token),
        lambda token: {"text": f"One. {token} Two."},
        lambda token: {"text": "Words.", "title": f"Of {token}"},
        lambda token: _row("a", f"{token[:3]}\x00{token[3:]}"),
    ],
    ids=["question", "answer", "input", "later answer", "system", "text", "title", "hidden by a control character"],
)
def test_a_special_tokens_text_is_no_special_token(prepares: Prepare, home: Path, make: Any, token: str) -> None:
    prepared = _prepared(prepares, home, [*rows(3), make(token)], *ALL_OF_IT)
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


# Held out


def test_one_prompt_is_never_on_both_sides(prepares: Prepare, home: Path) -> None:
    forms = [str, str.upper, str.title, "  {}\n".format, lambda text: text.replace(" ", "\t")]
    values = [_row(form(f"question of {n}"), f"answer {k}, {n}") for n in range(30) for k, form in enumerate(forms)]
    prepared = _prepared(prepares, home, values, "--eval-fraction", "0.4")
    sides: dict[str, set[str]] = {}
    for sample in prepared.samples:
        sides.setdefault(" ".join(sample.prompt.lower().split()), set()).add(sample.split)
    assert len(prepared.samples) == 150 and len(sides) == 30
    assert sorted(map(len, sides.values())) == [1] * 30
    assert set.union(*sides.values()) == {TRAIN, EVAL}


def test_a_prompt_of_the_author_and_a_general_one_are_on_one_side(prepares: Prepare, home: Path) -> None:
    """Also the one that is held out because chance has held out none."""
    write_rows(home / "general.jsonl", [_row(row["instruction"], "Another answer.") for row in rows(9)])
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["general.jsonl"]\n')
    prepared = _prepared(prepares, home, rows(9), "--eval-fraction", "1e-9")
    assert {(sample.role, sample.prompt) for sample in prepared.side(EVAL)} == {
        (role, prepared.side(EVAL)[0].prompt) for role in ("author", "general")
    }


def test_adding_rows_moves_no_other(prepares: Prepare, home: Path) -> None:
    few = _prepared(prepares, home, rows(60))
    many = _prepared(prepares, home, [*rows(30, "bay"), *rows(60), *rows(30, "moon")])
    sides = {sample.prompt: sample.split for sample in many.samples}
    assert {sample.prompt: sample.split for sample in few.samples}.items() <= sides.items()
    assert len(sides) == 120


def test_another_seed_holds_out_others(prepares: Prepare, home: Path) -> None:
    one, other = (_prepared(prepares, home, rows(60), "--seed", seed) for seed in ("0", "1"))
    held_out = [{sample.prompt for sample in prepared.side(EVAL)} for prepared in (one, other)]
    assert held_out[0] != held_out[1]
    assert sorted(one.texts) == sorted(other.texts)


# What is not fit to train on


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
        _talk(row["instruction"], row["output"], system=BOS if n in (3, 5) else "So.") for n, row in enumerate(rows(60))
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


# Warnings


def test_a_warm_up_over_a_tenth_is_warned_of_with_a_flag_that_ends_it(
    prepares: Prepare, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _prepared(prepares, home, rows(60))
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
    (warning,) = _prepared(prepares, home, rows(6), "--general", "60").document["warnings"]
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
    prepared = _prepared(prepares, home, rows(60))
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
    (warning,) = _prepared(prepares, home, rows(60)).document["warnings"]
    assert warning.startswith("training would be refused: train.rank = 0 (from twinctl.toml)")


# Again


def _reasons(cli: Cli) -> list[str]:
    found: list[str] = cli("status", "--json").ok().document["runs"][0]["phases"][0]["reasons"]
    return found


def test_another_template_is_another_result_and_status_names_it(
    cli: Cli, home: Path, prepares: Prepare, model: Path
) -> None:
    own = home / "own"
    make_model(own)
    _add_special(own, "<|im_start|>", "<|im_end|>")
    before = _prepared(prepares, home, rows(6), "--model", str(own))
    (home / "twinctl.toml").write_text('[prepare]\ntemplate = "chatml"\n')
    assert _reasons(cli) == ["prepare.template alpaca → chatml"]
    after = prepares("-d", "posts.jsonl", "--model", str(own))
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert all(text.endswith("<|im_end|>") for text in after.texts)
    assert _reasons(cli) == []


def test_a_template_that_the_tokenizer_cannot_write_is_refused(cli: Cli, prepare: list[str]) -> None:
    error = cli(*prepare, "--template", "chatml", "--json")
    assert error.code == 3
    assert error.document["error"]["message"] == "this model's tokenizer has no <|im_start|>"
    assert "--template" in error.document["error"]["hint"]


def test_the_models_own_template_is_part_of_the_identity(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    text = "{%- for message in messages -%}{{ message['content'] + eos_token }}{%- endfor -%}"
    (own / "chat_template.jinja").write_text(text)
    words = ["--model", str(own), "--template", "model"]
    before = _prepared(prepares, home, rows(6), *words)
    assert before.texts[0].startswith("What is harbour") and before.texts[0].count(EOS) == 2
    assert _reasons(cli) == []
    (own / "chat_template.jinja").write_text(text.replace("{{ ", "{{ '# ' + "))
    assert _reasons(cli) == ["the model's chat_template.jinja changed"]
    after = prepares("-d", "posts.jsonl", *words)
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert after.texts[0].startswith("# What is harbour")


def test_another_tokenizer_is_another_result_and_status_names_it(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    before = _prepared(prepares, home, rows(6), "--model", str(own))
    assert _reasons(cli) == []
    _add_special(own, "<|new|>")
    assert _reasons(cli) == ["the model's tokenizer.json changed"]
    after = prepares("-d", "posts.jsonl", "--model", str(own))
    assert (after.document["cached"], after.texts) == (False, before.texts)
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert _reasons(cli) == []


def test_other_weights_leave_the_tokens_as_they_are(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    before = _prepared(prepares, home, rows(6), "--model", str(own))
    with open(own / "model.safetensors", "ab") as file:
        file.write(b" ")
    assert _reasons(cli) == []
    assert prepares("-d", "posts.jsonl", "--model", str(own)).document == {**before.document, "cached": True}
