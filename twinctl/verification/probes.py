"""What a model is asked: texts to cut into tokens, held-out rows to predict, and their questions to answer.

What must stay true: the choice follows from the tokens alone, so that each file of a run is asked the same; the first
row is as long as the model was trained for, because a wrong rotary embedding shows only at late positions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from twinctl.data.tokens import EVAL, TRAIN, read_tokens

POSITIONS, LONGEST_ROW = 3072, 2048  # teacher-forced: of all rows together, and of the first
PROMPTS, LONGEST_PROMPT = 8, 512

PROBE_TEXTS = (
    "Plain words, and a sentence. Another one!",
    "  two spaces before, three after   ",
    "\n\nlines\n \n\tand tabs\t\n\r\n\r\nend\n",
    " " * 9 + "x" + "\n" * 5 + "y\t\t\tz",
    "digits 0 12 345 6789 1234567890 3.14 1,000,000 2024-11-21 ٣٤ ½ ²",
    "naïve café Ünïcödé Straße ﬁ Å",
    "decomposed: e\u0301 A\u030a o\u0308",
    "東京 Москва שלום مرحبا 한국어 日本語のテキスト",
    "नमस्ते ไทย",
    "emoji 🙂 👩‍👩‍👧 🇩🇪 ✈️ ❤️‍🔥",
    "def f(x):\n    return x ** 2  # code\n\n\nprint(f'{x!r}')\n",
    "<div class=\"a\">&amp; &lt;</div> {'json': [1, 2.5e-3, null]} C:\\path\\x https://a.b/c?d=e#f",
    "it's I'VE they'll we'd 'd '' \u2018quoted\u2019 \u201cdouble\u201d",
    "zero\u200bwidth \u00a0 nbsp \u2028 separators \ufeff soft\u00adhyphen",
    "▁ already an underscore ▁▁ ▁a",
    "[INST] <s > <| im_start |> ### Response: {{ x }} {% y %}",
    "ALLCAPS CamelCase snake_case kebab-case x1y2z3",
    "a" * 200,
    "…—–·•§¶†‡ ©®™ €£¥ ±×÷≠≤≥∞ ←→ ½",
    ".",
    "",
)


@dataclass(frozen=True)
class TokenizerProbe:
    """A text, and whether BOS and EOS go around it as the tokenizer has it."""

    text: str
    special: bool


@dataclass(frozen=True)
class HeldOut:
    """Rows to predict, as ids, and prompts to answer, as ids or as a question that is still to be rendered."""

    split: str
    rows: list[list[int]]
    prompts: list[list[int] | str]


def held_out(tokens: Path, max_length: int) -> HeldOut:
    """Held-out rows end to end, up to `max_length`, as one long context; then the next ones each by itself, up to
    POSITIONS tokens together. The training rows are used if no row is held out.
    """
    split = next((name for name in (EVAL, TRAIN) if read_tokens(tokens, name).num_rows), TRAIN)
    table = read_tokens(tokens, split).slice(0, POSITIONS)  # each has a token at least
    left = [row for row in table.column("input_ids").to_pylist() if row]
    longest = min(max_length, LONGEST_ROW, POSITIONS)
    context: list[int] = []
    while left and len(context) < longest:
        context += left.pop(0)
    rows = [context[:longest]]
    room = POSITIONS - len(rows[0])
    for row in left:
        if room > 0:
            rows.append(row[:room])
            room -= len(row)
    return HeldOut(split, rows, list(islice(_prompts(table), PROMPTS)))


def _prompts(table: Any) -> Iterator[list[int] | str]:
    """The tokens before a row's last answer; the question where the whole row is learnt; the first tokens of a row of
    plain writing.
    """
    columns = ("input_ids", "trained", "prompt")
    for ids, trained, question in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
        answer_start = trained[-2] if trained else 0
        if answer_start or not question:
            yield ids[: min(answer_start or max(len(ids) // 4, 1), LONGEST_PROMPT)]
        else:
            yield question


Encode = Callable[[str], list[int]]


def probes(
    texts: Iterable[str], specials: Sequence[str], encode: Encode, *, bos: str, space: str
) -> list[TokenizerProbe]:
    """What to cut into tokens: PROBE_TEXTS, special tokens among words, and `texts`. `bos`: empty where there is none;
    `space`: how the tokenizer's tokens spell one.

    Four things are left out, because llama.cpp cannot do them. It normalises nothing: a tokenizer that composes
    characters first gets composed texts only. It joins no combining mark to the letter before it: a byte-level
    tokenizer that does (Mistral's Tekken) gets the author's own texts, but not those of PROBE_TEXTS where it matters.
    It does not tell a space from the character that spells it. And where a tokenizer puts a space before a text but not
    after BOS, texts are behind BOS, as in chats.
    """
    general = [*PROBE_TEXTS, *(f"before {token} after{token}{token}\n{token}" for token in specials)]
    every_text = [*general, "".join(specials), *texts]
    with_joined_marks = {text for text in PROBE_TEXTS if space == " " and _joins_marks(text, encode)}

    def can_be_compared(text: str) -> bool:
        has_spelt_space = space != " " and space in text
        return not has_spelt_space and text.removeprefix(bos) not in with_joined_marks and not _composes(text, encode)

    puts_space_before_text = bos and encode(f"{bos}x") != [*encode(bos), *encode("x")]
    if puts_space_before_text:
        candidates = [TokenizerProbe(text if text.startswith(bos) else bos + text, False) for text in every_text]
    else:
        candidates = [TokenizerProbe(text, True) for text in general]
        candidates += [TokenizerProbe(text, False) for text in every_text]
    return [probe for probe in candidates if can_be_compared(probe.text)]


def _joins_marks(text: str, encode: Encode) -> bool:
    """Whether a token reaches from a letter into the combining mark after it."""
    kinds = [unicodedata.category(character)[0] for character in text]
    cuts = [0, *(at for at, pair in enumerate(pairwise(kinds), 1) if pair == ("L", "M")), len(text)]
    return [token for start, end in pairwise(cuts) for token in encode(text[start:end])] != encode(text)


def _composes(text: str, encode: Encode) -> bool:
    """Whether the tokenizer composes the text's characters before it encodes them."""
    composed = unicodedata.normalize("NFC", text)
    return composed != text and encode(composed) == encode(text)
