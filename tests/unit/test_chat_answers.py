"""What an answer's text goes through: stop texts while it grows, and what is wrong with it once it is there."""

from __future__ import annotations

import io
import random
import time
from typing import Any

import numpy as np
import pytest

from twinctl.chat.answer_stats import answer_stats
from twinctl.chat.memorization import NGRAM, Corpus
from twinctl.chat.quality_checks import WORD, TemplateText, faults_of, loop_in
from twinctl.chat.screen import Columns, Screen
from twinctl.chat.style import Author
from twinctl.config.sampling import Sampling
from twinctl.engine.stream_decoder import CONTEXT_IDS, AnswerDecoder
from twinctl.inference.chat_model import Answer
from twinctl.inference.stop_sequences import StopSequenceFilter

# StopSequenceFilter


@pytest.mark.parametrize("stop", [(), ("END",), ("\n\n", "###"), ("aab", "ab"), ("",)])
def test_pieces_are_the_text_up_to_the_first_stop_text(stop: tuple[str, ...]) -> None:
    random.seed(1)
    for _ in range(300):
        whole = "".join(random.choice(["a", "b", "E", "N", "D", "\n", "#", "東", "🙂"]) for _ in range(30))
        shown: list[str] = []
        growing = StopSequenceFilter(stop, shown.append)
        at = 0
        while at < len(whole):
            size = random.randint(1, 4)
            growing.add(whole[at : at + size])
            at += size
        growing.end()
        ends = [place for text in stop if text and (place := whole.find(text)) >= 0]
        assert growing.text == "".join(shown) == whole[: min(ends, default=len(whole))]
        assert growing.stopped == bool(ends)


def test_text_is_shown_as_soon_as_it_cannot_be_a_stop_text() -> None:
    shown: list[str] = []
    growing = StopSequenceFilter(("STOP",), shown.append)
    for piece in ("a", "S", "T", "x", "ST"):
        growing.add(piece)
    assert shown == ["a", "STx"]


# Tokens


class Letters:
    """A tokenizer whose ids are letters, and what it was asked to decode."""

    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012
    all_special_ids: list[int] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def decode(self, ids: list[int], **_: object) -> str:
        self.decoded.append(len(ids))
        return "".join(map(chr, ids))


def test_a_token_costs_the_same_however_long_the_answer_is() -> None:
    tokenizer, shown = Letters(), []
    spoken = AnswerDecoder(tokenizer, (), (), shown.append)
    for letter in "It rains. " * 500:
        spoken.add(ord(letter))
    assert spoken.text == "".join(shown) == "It rains. " * 500
    assert max(tokenizer.decoded) <= 2 * CONTEXT_IDS and len(tokenizer.decoded) < 1.2 * 5000


# Figures


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"finish": "stop"}, "[1 token, 2.0 tokens/s, ended by itself]"),
        ({"finish": "length", "tokens": 8}, "[8 tokens, 16.0 tokens/s, cut at 8 tokens]"),
        ({"finish": "length", "prompt_tokens": 99}, "[1 token, 2.0 tokens/s, the window of 100 tokens is full]"),
        ({"finish": "interrupted", "text": " "}, "[nothing was said: 1 token, 2.0 tokens/s, stopped]"),
        ({"finish": "stop", "seed": 3}, "[1 token, 2.0 tokens/s, ended by itself, seed 3]"),
    ],
)
def test_figures_say_why_an_answer_ended(about: dict[str, Any], said: str) -> None:
    given = Answer(**{"text": "Yes.", "tokens": 1, "seconds": 0.5, **about})
    assert answer_stats(given, Sampling(max_new_tokens=8)) == said


@pytest.mark.parametrize(("names", "beside"), [(["base", "tiny"], True), (["base", "tiny", "merged"], False)])
def test_answers_stand_side_by_side_where_each_has_room(
    names: list[str], beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    screen = Screen(stream)
    assert screen.width == 80
    assert isinstance(screen.panes(names), Columns) == beside


# Faults


def answer(text: str) -> Answer:
    return Answer(text, tokens=1, finish="stop", seconds=1.0)


FRAME = TemplateText.of("<s>Below is a task.\n\n### Instruction:\nasked?\n\n### Response:\n", "asked?", ["<s>"])


def test_the_frame_is_what_the_template_writes() -> None:
    assert FRAME.lines == ("Below is a task.", "### Instruction:", "### Response:")


@pytest.mark.parametrize(
    "text",
    [
        "It is good. It is very good. It is the best that there is, and I like it a lot.",
        "No, no, no! I said no.",
        "one two three four five six seven eight nine ten eleven twelve",
        "1. Bread\n2. Butter\n3. Salt\n4. Water\n5. Time",
        "東京は日本の首都です。大阪は西にあります。",
        "Row, row, row your boat, gently down the stream, merrily, merrily, merrily, merrily, life is but a dream.",
    ],
)
def test_sound_answers_have_no_fault(text: str) -> None:
    assert faults_of(answer(text), FRAME) == []


@pytest.mark.parametrize(
    "text", ["the sea " * 8, "A long way home, and then again. " * 4, "好" * 20, "ha " * 13, "Well. " + "a b c d " * 5]
)
def test_loops_are_seen(text: str) -> None:
    assert loop_in(WORD.findall(text)) is not None


# Copies


def longest_by_hand(ids: list[int], rows: list[list[int]]) -> int:
    best = 0
    for row in rows:
        for i in range(len(ids)):
            for j in range(len(row)):
                length = 0
                while i + length < len(ids) and j + length < len(row) and ids[i + length] == row[j + length] >= 0:
                    length += 1
                best = max(best, length)
    return best if best >= NGRAM else 0


def test_the_longest_run_is_the_one_found_by_hand() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = [rng.integers(0, 3, rng.integers(1, 30)).tolist() for _ in range(4)]
        rows[0][len(rows[0]) // 2] = -100  # not learnt
        ids = rng.integers(0, 3, 25).tolist()
        assert Corpus(rows).longest_run(ids)[1] == longest_by_hand(ids, rows)


def test_a_run_ends_with_its_row() -> None:
    corpus = Corpus([[1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13]])
    assert corpus.longest_run([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) == (1, 7)
    assert corpus.longest_run([]) == corpus.longest_run([1, 2, 3]) == (0, 0)
    assert Corpus([]).longest_run([1] * 20) == (0, 0)


def test_thirteen_thousand_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 128_000, 250) for _ in range(13_000)]
    began = time.monotonic()
    corpus = Corpus(rows)
    found = [corpus.longest_run([*range(5), *row[20:90].tolist(), 1, 2]) for row in rows[:100]]
    assert found == [(5, 70)] * 100
    assert time.monotonic() - began < 20


# Style

SALTY = "The sea, my dear, is the sea: it takes the boat, and it gives the fish, and I thank it. "
DRY = "Supervised methods optimise parameters. Researchers evaluate metrics. Results improve when datasets grow. "


def test_own_writing_is_nearer_than_another_hand() -> None:
    words = SALTY.split()
    random.seed(0)
    texts = [" ".join(random.sample(words, len(words)) * 4) for _ in range(20)]
    author = Author(texts[:15])
    own, other = author.distance(texts[15:]), author.distance([DRY * 20])
    assert own is not None and other is not None and own < other / 3


def test_nothing_is_said_of_few_words() -> None:
    assert Author([SALTY]).distance([SALTY * 50]) is None
    assert Author([SALTY * 50]).distance([SALTY]) is None
    assert Author([]).measure([]).distance is None


def test_measures_do_not_grow_with_the_text() -> None:
    author = Author([SALTY * 50])
    one, many = author.measure([SALTY * 10]), author.measure([SALTY * 10] * 9)
    assert one.rounded() == pytest.approx(many.rounded(), rel=0.02, abs=0.02)
    assert one.sentence == pytest.approx(len(SALTY.split()), abs=1)
