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
    """Rows to predict, as ids, and prompts to answer, as ids or as a question yet to be rendered."""

    split: str
    rows: list[list[int]]
    prompts: list[list[int] | str]


def held_out(tokens: Path, max_length: int, positions: int = POSITIONS) -> HeldOut:
    """Held-out rows end to end, up to `max_length`, as one long context; then the next ones each by itself, while there
    is room. From the training rows where none is held out.
    """
    split = next((name for name in (EVAL, TRAIN) if read_tokens(tokens, name).num_rows), TRAIN)
    table = read_tokens(tokens, split).slice(0, positions)  # each has a token at least
    left = [row for row in table.column("input_ids").to_pylist() if row]
    long: list[int] = []
    while left and len(long) < min(max_length, LONGEST_ROW, positions):
        long += left.pop(0)
    rows = [long[: min(max_length, LONGEST_ROW, positions)]]
    room = positions - len(rows[0])
    for row in left:
        if room > 0:
            rows.append(row[:room])
            room -= len(row)
    return HeldOut(split, rows, list(islice(_prompts(table), PROMPTS)))


def _prompts(table: Any) -> Iterator[list[int] | str]:
    """What comes before a row's last answer; where all of it is learnt, its question; of plain writing, a beginning."""
    columns = ("input_ids", "trained", "prompt")
    for ids, trained, question in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
        start = (trained or [0])[-2:][0]
        if start or not question:
            yield ids[: min(start or max(len(ids) // 4, 1), LONGEST_PROMPT)]
        else:
            yield question


def probes(
    texts: Iterable[str], specials: Sequence[str], encode: Callable[[str], list[int]], *, bos: str, space: str
) -> list[TokenizerProbe]:
    """What to cut into tokens: TEXTS, special tokens among words, and `texts`. `bos`: empty where there is none;
    `space`: how the tokenizer's tokens spell one.

    Four things are not asked, for llama.cpp cannot do them: it normalises nothing, so a tokenizer that composes
    characters first is asked for composed texts only; it joins no combining mark to the letter before it, so a
    byte-level tokenizer that does (Mistral's Tekken) is asked for the writer's own texts, but not for TEXTS where it
    matters; it does not tell a space from the character that spells it; and where a tokenizer puts a space before a
    text but not after BOS, texts are asked as chats have them, behind BOS.
    """
    around = [f"before {token} after{token}{token}\n{token}" for token in specials]
    bare, rows = [*PROBE_TEXTS, *around], ["".join(specials), *texts]
    if bos and encode(f"{bos}x") != [*encode(bos), *encode("x")]:
        found = [TokenizerProbe(text if text.startswith(bos) else bos + text, False) for text in (*bare, *rows)]
    else:
        found = [TokenizerProbe(text, True) for text in bare] + [TokenizerProbe(text, False) for text in (*bare, *rows)]
    undone = {text for text in PROBE_TEXTS if space == " " and _joins_marks(text, encode)}
    undone |= {bos + text for text in undone}
    return [
        probe
        for probe in found
        if not ((space in probe.text and space != " ") or _composes(probe.text, encode) or probe.text in undone)
    ]


def _joins_marks(text: str, encode: Callable[[str], list[int]]) -> bool:
    """Whether a token reaches from a letter into the combining mark after it."""
    kinds = [unicodedata.category(character)[0] for character in text]
    cuts = [0, *(at for at, pair in enumerate(pairwise(kinds), 1) if pair == ("L", "M")), len(text)]
    return [token for start, end in pairwise(cuts) for token in encode(text[start:end])] != encode(text)


def _composes(text: str, encode: Callable[[str], list[int]]) -> bool:
    composed = unicodedata.normalize("NFC", text)
    return composed != text and encode(composed) == encode(text)
