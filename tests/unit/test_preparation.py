"""The whole pass over random rows: what is written can be trained on, and every row is accounted for."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinctl.bundled import BASE
from twinctl.config.prepare import PrepareRecipe
from twinctl.data import preparation, tokens
from twinctl.data.preparation import Preparation, token_spans
from twinctl.data.report import Report
from twinctl.data.shapes import MessagesRow, parse_row
from twinctl.data.source import DataFile, Role, Source
from twinctl.data.template import Template, load_template
from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, TRAIN, TokensWriter, read_tokens
from twinctl.workspace.memo import file_sha256

Rows = list[dict[str, Any]]

TOKENIZER = TextTokenizer.load(BASE)
TEMPLATE = load_template("alpaca", BASE, TOKENIZER)


@dataclass
class Made:
    """What one pass left."""

    report: Report
    samples: list[dict[str, Any]]
    digest: str

    def learnt(self, sample: dict[str, Any]) -> list[str]:
        """The texts of the learnt spans."""
        spans = zip(sample["trained"][::2], sample["trained"][1::2], strict=True)
        return TOKENIZER.decode([sample["input_ids"][start:end] for start, end in spans])


@contextmanager
def _sources(*files: tuple[str, Role, Rows]) -> Iterator[list[Source]]:
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, role, rows in files:
            path = Path(folder, name)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            found.append(Source(role, name, str(path), (DataFile(str(path), file_sha256(path), ""),)))
        yield found


def _prepare(sources: list[Source], event: Any = lambda *_, **__: None, **recipe: Any) -> Made:
    with tempfile.TemporaryDirectory() as out:
        with TokensWriter(Path(out), salt="") as writer:
            work = Preparation(PrepareRecipe.model_validate(recipe), TOKENIZER, TEMPLATE, writer, event)
            work.run(sources)
        samples = [
            {"split": split, **row} for split in (TRAIN, EVAL) for row in read_tokens(Path(out), split).to_pylist()
        ]
        return Made(work.report, samples, writer.digest)


def _made(rows: Rows, **recipe: Any) -> Made:
    with _sources(("rows.jsonl", "author", rows)) as sources:
        return _prepare(sources, **recipe)


# A few letters make repetitions, controls, line ends and parts of characters likely; long texts are to be cut.
SHORT = st.text(st.sampled_from("ab \n\r\x00é漢🙂<|#\ufeff"), max_size=30) | st.text(max_size=30)
LONG = st.lists(st.sampled_from(["The sea. ", "🙂🙂", "漢字", "\n\n", "word "]), min_size=20, max_size=90).map("".join)
GOOD = SHORT.map("x{}".format)
RARE = st.one_of(SHORT, st.sampled_from(sorted(TOKENIZER.specials)))
ASKED, ANSWERED = st.one_of(*[GOOD] * 20, LONG, RARE), st.one_of(*[GOOD] * 10, *[LONG] * 10, RARE)
ODD_TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": ASKED}),
    max_size=5,
)
TURNS = st.tuples(
    st.lists(ASKED, max_size=1).map(lambda texts: [{"role": "system", "content": text} for text in texts]),
    st.lists(st.tuples(ASKED, ANSWERED), min_size=1, max_size=3).map(
        lambda pairs: [
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    ),
).map(lambda parts: [*parts[0], *parts[1]])
PAIRS = st.fixed_dictionaries({"instruction": ASKED, "output": ANSWERED}, optional={"input": ASKED, "system": ASKED})
ROWS = st.lists(PAIRS | st.fixed_dictionaries({"messages": TURNS | ODD_TURNS}), max_size=8)
RECIPES = st.fixed_dictionaries(
    {
        "max_length": st.sampled_from([48, 80, 128, 400]),
        "overlong": st.sampled_from(["drop", "truncate", "split"]),
        "loss": st.sampled_from(["all", "completion"]),
        "dedupe": st.sampled_from(["exact", "near", "none"]),
        "eval_fraction": st.sampled_from([0.0, 0.3]),
    }
)
CAREFUL = settings(max_examples=60, deadline=None)


@CAREFUL
@given(ROWS, RECIPES)
def test_every_sample_can_be_trained_on(rows: Rows, recipe: dict[str, Any]) -> None:
    made = _made(rows, **recipe)
    assert made.report.problems == {}
    for sample in made.samples:
        ids, trained = sample["input_ids"], sample["trained"]
        assert 0 < len(ids) <= recipe["max_length"]
        assert ids[-1] == TEMPLATE.eos_id and trained[-1] == len(ids)
        assert trained == sorted(trained) and trained[0] >= 0 and trained[-2] < trained[-1]
        assert all(text.endswith(TEMPLATE.eos) for text in made.learnt(sample))
        if recipe["loss"] == "all":
            assert trained == [0, len(ids)]


@CAREFUL
@given(ROWS, RECIPES)
def test_every_row_is_accounted_for(rows: Rows, recipe: dict[str, Any]) -> None:
    made = _made(rows, **recipe)
    kept = Counter(sample["place"].partition("/")[0] for sample in made.samples)
    report, (counts,) = made.report, made.report.sources.values()
    assert report.read == counts.read == len(rows)
    assert report.total(TRAIN) + report.total(EVAL) == len(made.samples) == counts.samples.total()
    assert counts.tokens == sum(len(sample["input_ids"]) for sample in made.samples)
    learnt = {sample["place"]: sum(map(len, TOKENIZER.encode(made.learnt(sample)))) for sample in made.samples}
    if recipe["loss"] == "all":
        assert counts.trained == sum(learnt.values()) == counts.tokens
    dropped = {each["place"].partition("/")[0] for each in report.examples}  # fewer rows than examples are kept
    assert {f"rows.jsonl:{number}" for number in range(1, len(rows) + 1)} == kept.keys() | dropped
    if recipe["overlong"] != "split":
        assert len(rows) == len(made.samples) + counts.dropped.total()
        assert max(kept.values(), default=1) == 1
    assert sum(each["reason"] == "over max length" for each in report.examples) == counts.dropped["over max length"]


@CAREFUL
@given(ROWS)
def test_the_answers_and_nothing_else_are_learnt_of_each_talk(rows: Rows) -> None:
    made = _made(rows, loss="completion", dedupe="none", max_length=4096)
    talks = {}
    for number, row in enumerate(rows, 1):
        parsed = parse_row(row, {}, "")
        if isinstance(parsed, MessagesRow):
            talks[f"rows.jsonl:{number}"] = [
                {name: _clean(text) for name, text in message.items()} for message in parsed.messages
            ]
    for sample in made.samples:
        messages = talks[sample["place"]]
        (text,) = TOKENIZER.decode([sample["input_ids"]])
        assert text == TEMPLATE.render(messages)
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        assert made.learnt(sample) == [answer + TEMPLATE.eos for answer in answers]
    dropped = made.report.dropped()
    assert len(made.samples) == len(talks) - dropped.get("contains a special token", 0)


def _clean(text: str) -> str:
    """As the pass is promised to clean a text, written in another way."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(sign for sign in text if sign in "\t\n" or (ord(sign) >= 32 and sign not in "\x7f\ufeff"))


@CAREFUL
@given(ROWS, RECIPES, st.sampled_from([1, 2, 3]))
def test_the_result_does_not_depend_on_the_batches(rows: Rows, recipe: dict[str, Any], batch: int) -> None:
    whole = _made(rows, **recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "BATCH", batch)
        patch.setattr(tokens, "BATCH", batch)
        again = _made(rows, **recipe)
    assert (again.digest, again.samples) == (whole.digest, whole.samples)
    assert again.report.metrics() == whole.report.metrics()


@CAREFUL
@given(ROWS, ROWS, st.sampled_from([0, 1]))
def test_one_question_lies_on_one_side_and_more_rows_move_none(rows: Rows, more: Rows, seed: int) -> None:
    few, many = (_made(each, eval_fraction=0.3, seed=seed, dedupe="none") for each in (rows, [*rows, *more]))
    sides: dict[str, set[str]] = {}
    for sample in many.samples:
        (text,) = TOKENIZER.decode([sample["input_ids"]])
        question = text.partition("### Instruction:\n")[2].partition("\n\n### Response:\n")[0]
        sides.setdefault(" ".join(question.casefold().split()), set()).add(sample["split"])
    assert all(len(side) == 1 for side in sides.values())
    if few.report.total(EVAL):  # else the one nearest to it was held out, or none
        before = {sample["place"]: sample["split"] for sample in few.samples if sample["split"] == TRAIN}
        after = {sample["place"]: sample["split"] for sample in many.samples}
        assert before.items() <= after.items()


@CAREFUL
@given(
    st.lists(st.text(st.sampled_from("ab .\n#<>-*`_[]()!&;é漢🙂|"), max_size=400), max_size=4),
    st.sampled_from(["md", "html", "txt"]),
    st.sampled_from(["passages", "raw"]),
    st.sampled_from([128, 300]),
)
def test_writing_of_any_kind_becomes_samples_that_fit(texts: list[str], kind: str, as_: str, length: int) -> None:
    rows = [{"text": text, "format": kind, "title": "A day"} for text in texts]
    made = _made(rows, text_as=as_, max_length=length, eval_fraction=0.3, skip_bad=True)  # a parser may reject some
    assert made.report.problems == {}
    sides: dict[str, set[str]] = {}
    for sample in made.samples:
        assert len(sample["input_ids"]) <= length and sample["input_ids"][-1] == TEMPLATE.eos_id
        sides.setdefault(sample["place"].partition("#")[0], set()).add(sample["split"])
    assert all(len(side) == 1 for side in sides.values())
    places = {each["place"].partition("#")[0] for each in made.report.examples}
    assert {f"rows.jsonl:{number}" for number in range(1, len(rows) + 1)} == sides.keys() | places


@pytest.mark.parametrize("count", [1, 9, 10, 3000])
def test_the_general_rows_follow_from_the_authors(count: int) -> None:
    author, general = ([{"instruction": f"{kind} {n}", "output": "b"} for n in range(count)] for kind in "ag")
    with _sources(("a.jsonl", "author", author[:9]), ("g.jsonl", "general", general)) as sources:
        made = _prepare(list(reversed(sources)))
    taken = made.report.by_role("samples")
    assert taken == {"author": min(count, 9), "general": min(count, -(-min(count, 9) * 10 // 3))}
    counts = made.report.sources["g.jsonl"]
    assert counts.read == counts.samples.total() + counts.dropped.total()
    assert set(counts.dropped) <= {"beyond --general"}


def test_rows_beyond_those_that_are_wanted_are_not_all_read() -> None:
    author, general = ([{"instruction": f"{kind} {n}", "output": "b"} for n in range(9000)] for kind in "ag")
    with _sources(("a.jsonl", "author", author[:9]), ("g.jsonl", "general", general)) as sources:
        made = _prepare(sources)
    assert made.report.sources["g.jsonl"].capped
    assert made.report.sources["g.jsonl"].read <= 1000 * 4


@given(st.lists(st.integers(1, 3), max_size=12), st.data())
def test_tokens_that_begin_in_a_span_are_in_it(lengths: list[int], data: st.DataObject) -> None:
    borders = [sum(lengths[:place]) for place in range(len(lengths) + 1)]
    offsets = list(pairwise(borders))
    cuts = sorted(data.draw(st.sets(st.integers(0, sum(lengths)), max_size=6)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    found = token_spans(offsets, spans)
    inside = [place for place, (start, _) in enumerate(offsets) if any(first <= start < end for first, end in spans)]
    assert [place for start, end in zip(found[::2], found[1::2], strict=True) for place in range(start, end)] == inside


# Stopped


def test_who_stops_it_waits_for_one_batch_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "BATCH", 2)
    began, encode = threading.Event(), Preparation._encode
    batches: list[int] = []
    seen: list[str] = []

    def slowly(self: Preparation, batch: list[Any]) -> Any:
        batches.append(len(batch))
        began.set()
        time.sleep(0.4)
        return encode(self, batch)

    def stop(kind: str, **_: object) -> None:
        seen.append(kind)
        if seen.count("progress") == 2 and began.wait(5):  # one batch is encoded, and one waits for it
            raise KeyboardInterrupt

    monkeypatch.setattr(Preparation, "_encode", slowly)
    rows = [{"instruction": f"a {number}", "output": "b"} for number in range(100)]
    before = time.monotonic()
    with _sources(("rows.jsonl", "author", rows)) as sources, pytest.raises(KeyboardInterrupt):
        _prepare(sources, stop)
    assert time.monotonic() - before < 10
    assert batches == [2]
    assert [thread.name for thread in threading.enumerate() if "ThreadPool" in thread.name] == []


def test_what_goes_wrong_beside_the_reading_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("wires crossed")

    monkeypatch.setattr(Preparation, "_encode", broken)
    with pytest.raises(RuntimeError, match="wires crossed"):
        _made([{"instruction": "a", "output": "b"}])


def test_the_template_is_the_one_it_was_made_for() -> None:
    """What these tests take for granted of the bundled base."""
    assert isinstance(TEMPLATE, Template)
    assert TEMPLATE.eos_id == TOKENIZER.eos_id and TOKENIZER.length("漢🙂") > 2
