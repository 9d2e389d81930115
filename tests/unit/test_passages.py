"""Passages are the author's own words in pieces that fit, asked for by questions that differ."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.data.documents import Document, Section, read_document
from twinctl.data.passages import Passage, passages, pieces, plain_text

Length = Callable[[str], int]


def by_words(text: str) -> int:
    """A cheap tokenizer: words, marks, and each character of scripts without spaces."""
    return len(re.findall(r"[a-zA-Z0-9_]+|[^\sa-zA-Z0-9_]", text))


def by_bytes(text: str) -> int:
    return len(text.encode())


def _document(*sections: tuple[str, str], title: str = "The Sea") -> Document:
    return Document(title, tuple(Section(heading, tuple(text.split("|"))) for heading, text in sections))


def _passages(document: Document, room: int = 2000, length: Length = by_words) -> list[Passage]:
    return list(passages(document, length=length, room=room))


def _pieces(text: str, room: int, length: Length = by_words) -> list[str]:
    return list(pieces(text, length=length, room=room))


def _solid(*texts: str) -> str:
    return "".join("".join(texts).split())


# Questions


def test_a_passage_is_asked_for_by_its_heading_and_its_text_s_title() -> None:
    assert _passages(_document(("At dawn", "Salt.|Ropes."))) == [
        Passage("Write the passage “At dawn” of “The Sea”.", "Salt.\n\nRopes.")
    ]
    assert _passages(_document(("At dawn", "Salt."), title=""))[0].prompt == "Write the passage “At dawn”."


def test_later_passages_of_a_heading_are_its_parts() -> None:
    long = "|".join(["word " * 300] * 3)
    prompts = [passage.prompt for passage in _passages(_document(("A", long), ("B", "b."), ("A", "a.")))]
    assert prompts == [
        "Write the passage “A” of “The Sea”.",
        "Write the passage “A” of “The Sea”, part 2.",
        "Write the passage “A” of “The Sea”, part 3.",
        "Write the passage “B” of “The Sea”.",
        "Write the passage “A” of “The Sea”, part 4.",
    ]


def test_without_a_heading_a_passage_is_asked_for_by_its_first_words() -> None:
    text = "One two three four five six seven, eight nine.", "- And again: so."
    first, second = _passages(_document(("", text[0]), ("", text[1])))
    assert first.prompt == "Write the passage “One two three four five six seven, eight…” of “The Sea”."
    assert second.prompt == "Write the passage “And again: so.” of “The Sea”."


def test_a_text_of_one_passage_is_asked_for_by_its_title() -> None:
    assert _passages(_document(("", "Salt."))) == [Passage("Write “The Sea”.", "Salt.")]
    assert _passages(_document(("", "Salt and tar."), title="")) == [
        Passage("Write the passage “Salt and tar.”.", "Salt and tar.")
    ]


def test_a_text_named_by_its_first_words_is_not_part_of_itself() -> None:
    found = _passages(read_document("Salt is what it is all about, he said. " * 200, "txt"))
    assert found[0].prompt == "Write the passage “Salt is what it is all about, he…”."
    assert found[1].prompt.startswith("Write the passage “Salt is what it is all about, he…”, part 2")


@pytest.mark.parametrize(
    ("heading", "asked"),
    [
        ("“Quoted”", "Quoted"),
        ('"A" and "B":', "'A' and 'B'"),
        ("A “salty”\n sea", "A ‘salty’ sea"),
        ("1. Ropes", "1. Ropes"),
        ("word " * 30, " ".join(["word"] * 20) + "…"),
        ("海" * 300, "海" * 120 + "…"),
    ],
)
def test_headings_are_trimmed_of_what_would_nest_badly(heading: str, asked: str) -> None:
    assert _passages(_document((heading, "Salt.")))[0].prompt == f"Write the passage “{asked}” of “The Sea”."


def test_a_heading_without_text_and_a_text_without_words_give_no_passage() -> None:
    assert _passages(_document(("A", ""), ("B", "b."))) == [Passage("Write the passage “B” of “The Sea”.", "b.")]
    assert _passages(Document("T", ())) == []


# Cutting


def test_paragraphs_are_kept_together_up_to_512_tokens() -> None:
    paragraphs = [f"p{number} " + "word " * 99 for number in range(12)]
    found = [passage.text for passage in _passages(_document(("A", "|".join(paragraphs))))]
    assert [text.count("p") for text in found] == [4, 4, 4]  # as even as may be
    assert _solid(*found) == _solid(*paragraphs)


def test_a_long_paragraph_is_cut_between_sentences_and_begins_a_passage() -> None:
    sentences = [f"S{number} " + "word " * 48 + "end." for number in range(30)]
    found = [passage.text for passage in _passages(_document(("A", "Short one. " * 20 + "|" + " ".join(sentences))))]
    assert all(text.startswith("S") and text.endswith(".") for text in found)
    assert all(200 < by_words(text) <= 512 for text in found[1:])
    assert found[0] == ("Short one. " * 20).strip()


def test_nothing_tiny_is_left_alone() -> None:
    assert _pieces("word " * 100 + "\n\nend.", 100) == [("word " * 100).strip(), "end."]  # there is no room
    long = " ".join(["One two three four five six seven eight nine ten."] * 46)  # 506 tokens
    for text in (f"{long}|The end.", f"Look:|{long} And more, and more."):
        assert len(_passages(_document(("A", text)))) == 1
    found = _passages(_document(("A", f"Look:|{long} {long}")))
    assert found[0].text.startswith("Look:\n\nOne") and all(by_words(passage.text) > 300 for passage in found)


def test_a_sentence_is_cut_only_when_there_is_no_room_for_it() -> None:
    sentence = "word " * 700 + "end."
    assert len(_passages(_document(("A", sentence)))) == 1
    assert all(by_words(text) <= 300 for text in _pieces(sentence, 300))


def test_words_are_cut_only_when_there_is_no_room_for_them() -> None:
    assert _pieces("a bb cccc dd", 4, by_bytes) == ["a bb", "cccc", "dd"]
    assert _pieces("a " + "x" * 10 + " b", 4, by_bytes) == ["a", "xxx", "xxxx", "xxx", "b"]
    assert _pieces("one two\nthree four", 3) == ["one two", "three four"]
    assert _pieces("海海，海海海", 4) == ["海海，", "海海海"]


@pytest.mark.parametrize(
    "sentences",
    [
        ["He met Dr. J. Smith, e.g. at 3.14 p.m. sharp.", "Then?", "“Why?” he asked.", "It was 1999.", "Well... no…"],
        ["Er sagte z.B. nichts.", "Am 3. Oktober war Ruhe.", "»Warum?«", "(Darum.)", "Usw. usf."],
        ["lower case it is.", "and no shift key.", "really?", "yes."],
        ["他说：“走吧。”", "然后走了！", "为什么？", "不知道。"],
        ["「なに？」と言った。", "「はい。」", "そうか！"],
        ["هل رأيته؟", "نعم.", "ثم ذهب."],
        ["वह गया।", "फिर आया।"],
        ["It is 🙂.", "So 🙂!", "Lists etc. and more.", "Things, etc. , and 👍 so on."],
        ["Intro:", "- one", "- two", "3. three"],
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_would_say(sentences: list[str]) -> None:
    cjk = re.search(r"[。]", "".join(sentences))
    text = ("\n" if sentences[-1] == "3. three" else "" if cjk else " ").join(sentences)
    # Each sentence fills a piece, and anything else is too long for one.
    found = _pieces(text, 100, lambda piece: 100 if piece in sentences else 101)
    assert found == sentences


SNIPPETS = [
    *("word", "Dr.", "e.g.", "end.", "why?", "“so!”", "3.14", "…", ".", "#", '"', "é", "- ", "x" * 20),
    *(" ", "  ", "\n", "\n\n", "\n \n", "\u00a0", "海。", "海" * 9, "كلمة؟ ", "👩\u200d👧"),
]
TEXTS = st.lists(st.sampled_from(SNIPPETS), max_size=60).map("".join)
LENGTHS = st.sampled_from([len, by_words, by_bytes, lambda text: -(-len(text) // 4)])


@given(TEXTS, st.integers(4, 60), LENGTHS)
def test_pieces_are_the_text_and_each_has_room(text: str, room: int, length: Length) -> None:
    found = _pieces(text, room, length)
    assert _solid(*found) == _solid(text)
    assert all(piece == piece.strip() and 0 < length(piece) <= room for piece in found if piece)
    assert all(found) and found == _pieces(text, room, length)
    position = 0
    for piece in found:
        position = text.index(piece, position) + len(piece)  # verbatim, with its inner white space


@given(st.lists(st.tuples(st.sampled_from(["", "A", "a", "“A”", "B 1", "…"]), TEXTS), max_size=6), st.integers(4, 700))
def test_passages_are_the_document_and_their_questions_differ(texts: list[tuple[str, str]], room: int) -> None:
    document = Document("T", tuple(Section(heading, (text,)) for heading, text in texts))
    found = _passages(document, room)
    assert _solid(*(passage.text for passage in found)) == _solid(*(text for _, text in texts))
    assert len({passage.prompt for passage in found}) == len(found)
    assert all(0 < by_words(passage.text) <= room for passage in found)
    assert all(re.fullmatch(r"Write (the passage )?“[^“”]+”( of “T”)?(, part \d+)?\.", each.prompt) for each in found)


def test_there_must_be_room() -> None:
    with pytest.raises(ValueError, match="no room"):
        _pieces("word", 0)


# Plain text


def test_plain_text_has_the_title_that_it_says_and_its_headings_as_lines() -> None:
    source = "# The Sea\n\nSalt.\n\n## At dawn\n\n- a\n- b\n\n## Empty"
    assert plain_text(read_document(source, "md")) == "The Sea\n\nSalt.\n\nAt dawn\n\n- a\n- b\n\nEmpty"
    assert plain_text(read_document("Salt.\n\n\nTar.", "txt", "a file name")) == "Salt.\n\nTar."


# Time


@pytest.mark.parametrize("unit", ["Some words, e.g. these. And “others”? ", "word ", "x", "海", "a\n", '"', "..."])
def test_five_megabytes_in_one_line_take_seconds(unit: str) -> None:
    text = unit * (5_000_000 // len(unit))
    began = time.monotonic()
    found = _pieces(text, 1900, lambda piece: -(-len(piece) // 4))
    assert time.monotonic() - began < 60  # were it quadratic, hours
    assert sum(map(len, map(_solid, found))) == len(_solid(text))
