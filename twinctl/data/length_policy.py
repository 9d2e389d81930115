"""Samples that are longer than there is room for: dropped, cut, or split into several.

What must stay true: whatever is cut, a sample ends with a learnt stop token, and something of an answer is left; what
is cut or left out is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinctl.data.passages import pieces
from twinctl.data.report import Report, SourceCounts
from twinctl.data.template import Message, Template
from twinctl.data.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from twinctl.config.prepare import PrepareRecipe


@dataclass(slots=True)
class Candidate:
    """A sample before it is encoded. `spans`: which characters are learnt, None for all; `messages`: None for plain
    text; `unit_hash`: its unit's number in the split.
    """

    text: str
    spans: list[tuple[int, int]] | None
    messages: list[Message] | None
    unit_hash: float
    prompt: str
    place: str


@dataclass(slots=True)
class Encoded:
    """Ids, the learnt token spans as [start, end, …], and whether ids → text → ids is the identity."""

    ids: list[int]
    trained: list[int]
    round_trips: bool


class LengthPolicy:
    """What --overlong makes of a sample that is too long. `candidate` and `encode` make samples of its parts."""

    def __init__(
        self,
        recipe: PrepareRecipe,
        tokenizer: TextTokenizer,
        template: Template,
        report: Report,
        candidate: Callable[[list[Message], float, str], Candidate],
        encode: Callable[[list[Candidate]], list[Encoded]],
    ) -> None:
        self._room, self._how = recipe.max_length, recipe.overlong
        self._tokenizer, self._template, self._report = tokenizer, template, report
        self._candidate, self._encode = candidate, encode

    def fit(self, candidate: Candidate, encoded: Encoded, counts: SourceCounts) -> list[tuple[Candidate, Encoded]]:
        """The candidate if it is short enough, else what is made of it."""
        if len(encoded.ids) <= self._room:
            return [(candidate, encoded)]
        if self._how == "truncate" and (cut := self._truncated(candidate, encoded)):
            counts.cleaned["truncated"] += 1
            return [(candidate, cut)]
        if self._how == "split" and (fitting := self._divided(candidate, counts)):
            return fitting
        self._report.drop(counts, candidate.place, "over max length", candidate.text)
        return []

    def _truncated(self, candidate: Candidate, encoded: Encoded) -> Encoded | None:
        """Cut behind `max_length` less one, and ended with the stop token; None when no answer would be left."""
        end = self._room - 1
        for cut in range(end, max(end - 4, 0), -1):  # the nearest place that is not inside a character
            if not self._tokenizer.decode([encoded.ids[:cut]])[0].endswith("\ufffd"):
                end = cut
                break
        if candidate.messages is not None:
            prompt = self._tokenizer.length(self._template.prompt(candidate.messages[:-1]))
            if prompt >= end:
                return None
        pairs = list(zip(encoded.trained[::2], encoded.trained[1::2], strict=True))
        trained = [value for start, stop in pairs if start < end for value in (start, min(stop, end))]
        if not trained or trained[-1] != end:
            return None
        trained[-1] = end + 1
        return Encoded([*encoded.ids[:end], self._template.eos_id], trained, encoded.round_trips)

    def _divided(self, candidate: Candidate, counts: SourceCounts) -> list[tuple[Candidate, Encoded]]:
        """The parts that fit; none when not one does."""
        parts = self._parts(candidate)
        encoded = list(zip(parts, self._encode(parts), strict=True)) if parts else []
        fitting = [(part, tokens) for part, tokens in encoded if len(tokens.ids) <= self._room]
        if fitting:
            counts.cleaned["split"] += 1
            for part, tokens in encoded:
                if len(tokens.ids) > self._room:
                    self._report.drop(counts, part.place, "over max length", part.text)
        return fitting

    def _parts(self, candidate: Candidate) -> list[Candidate]:
        """The conversation as several: turn by turn while they fit, an answer that is too long alone in pieces."""
        messages = candidate.messages or []
        system = [message for message in messages[:1] if message["role"] == "system"]
        parts: list[list[Message]] = []
        for turn in _turns(messages[len(system) :]):
            if parts and self._length([*parts[-1], *turn]) <= self._room:
                parts[-1] += turn
            else:
                parts += [[*system, *piece] for piece in self._turn_parts(system, turn)]
        return [
            self._candidate(part, candidate.unit_hash, f"{candidate.place}/{number}")
            for number, part in enumerate(parts, 1)
        ]

    def _turn_parts(self, system: list[Message], turn: list[Message]) -> list[list[Message]]:
        *asked, answer = turn
        if not asked or self._length([*system, *turn]) <= self._room:
            return [turn]
        frame = self._length([*system, *asked, assistant("")]) + 16  # for “(part 1000)”
        room = self._room - frame
        if room < 16:
            return [turn]
        last, parts = asked[-1], []
        for number, piece in enumerate(pieces(answer["content"], length=self._tokenizer.length, room=room), 1):
            text = last["content"] if number == 1 else f"{last['content']}\n\n(part {number})"
            parts.append([*asked[:-1], {**last, "content": text}, assistant(piece)])
        return parts

    def _length(self, messages: list[Message]) -> int:
        return self._tokenizer.length(self._template.render(messages))


def _turns(messages: list[Message]) -> Iterator[list[Message]]:
    """A conversation in parts that each end with an answer."""
    turn: list[Message] = []
    for message in messages:
        turn.append(message)
        if message["role"] == "assistant":
            yield turn
            turn = []


def user(text: str) -> Message:
    """A question."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An answer."""
    return {"role": "assistant", "content": text}
