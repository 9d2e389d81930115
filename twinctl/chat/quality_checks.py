"""What can be wrong with an answer, from its text alone.

What must stay true: each fault is one that a reader would notice as well; nothing here depends on a language's words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from twinctl.inference.chat_model import Answer

# What the families' templates write around messages; as text in an answer they are leaks, whatever the tokenizer.
TEMPLATE_MARKERS = (
    *("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|endoftext|>"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "</s>"),
)
ROUNDS, LOOP, PERIOD = 3, 12, 80  # a loop: at least three rounds and twelve words, each round at most eighty words
# A word; a letter of a script that writes no spaces is one; a mark.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")


@dataclass(frozen=True)
class TemplateText:
    """What the template writes around a question: its lines of text, and the tokenizer's special tokens."""

    lines: tuple[str, ...]
    specials: tuple[str, ...]

    @classmethod
    def of(cls, prompt: str, question: str, specials: Collection[str]) -> TemplateText:
        """The text of a rendered prompt without the question and the special tokens."""
        texts = sorted((text for text in specials if text), key=len, reverse=True)
        parts = re.split("|".join(map(re.escape, [question, *texts])), prompt)
        lines = (line.strip() for part in parts for line in part.splitlines())
        return cls(tuple(dict.fromkeys(line for line in lines if len(line) >= 8)), tuple(texts))


def faults_of(answer: Answer, template: TemplateText) -> list[str]:
    """Which of endless, empty, special, template and loop the answer has."""
    text = answer.text
    faults = {
        "endless": answer.finish != "stop",
        "empty": not any(letter.isalnum() for letter in text),
        "special": bool(answer.specials) or any(mark in text for mark in (*template.specials, *TEMPLATE_MARKERS)),
        "template": any(line in text for line in template.lines),
        "loop": loop_in(WORD.findall(text)) is not None,
    }
    return [name for name, is_present in faults.items() if is_present]


def loop_in(words: Sequence[str]) -> list[str] | None:
    """The words that are repeated over and over; None if there are none."""
    for period in range(1, min(PERIOD, len(words) // ROUNDS) + 1):
        run = 0
        for index in range(len(words) - period):
            run = run + 1 if words[index] == words[index + period] else 0
            if run + period >= max(ROUNDS * period, LOOP):
                return list(words[index + 1 : index + 1 + period])
    return None
