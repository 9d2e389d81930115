"""Token ids as they are generated → the text of an answer, piece by piece.

What must stay true: text comes in whole characters; special tokens are counted and never text; the pieces together are
what the ids decode to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from twinctl.inference.cancellation import Cancellation
from twinctl.inference.stop_sequences import StopSequenceFilter

BEHIND = 8  # ids behind which the next ones are decoded
REPLACEMENT_CHARACTER = "\ufffd"  # what a decoder writes for a character whose last bytes are still to come


class AnswerDecoder:
    """One answer in the making. `stops`: the ids that end it; `ended`: by one of them or by a stop text."""

    def __init__(
        self, tokenizer: Any, stops: Collection[int], texts: Sequence[str], show: Callable[[str], None]
    ) -> None:
        self._stops, self._specials = stops, _special_ids(tokenizer)
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)  # what is around it costs more than decoding
        self._decoder: Callable[..., str] = backend.decode
        self._growing = StopSequenceFilter(texts, show)
        self._ids: list[int] = []
        self._begins, self._before = 0, ""  # where decoding starts, and what of its text was passed on
        self.tokens = self.specials = 0
        self.ended = False
        self.first: float | None = None

    @property
    def text(self) -> str:
        """What there is until now."""
        return self._growing.text

    def add(self, token: int) -> None:
        """The next id; those behind the end are passed over."""
        if self.ended:
            return
        if self.first is None:
            self.first = time.monotonic()
        self.tokens += 1
        if token in self._stops:
            self.ended = True
        elif token in self._specials:
            self.specials += 1
        else:
            self._ids.append(token)
            self._read()
            self.ended = self._growing.stopped

    def close(self) -> None:
        """No id comes any more. A character that lacks bytes is none."""
        self._pass_on(self._decode(self._ids[self._begins :]).rstrip(REPLACEMENT_CHARACTER))
        self._growing.end()

    def _read(self) -> None:
        """Pass on what is text by now: ids are decoded behind some before them, as a word's space depends on those."""
        text = self._decode(self._ids[self._begins :])
        if text.endswith(REPLACEMENT_CHARACTER):
            return
        self._pass_on(text)
        if len(self._ids) - self._begins >= BEHIND * 2:
            self._begins = len(self._ids) - BEHIND
            self._before = self._decode(self._ids[self._begins :])

    def _pass_on(self, text: str) -> None:
        self._growing.add(text[len(self._before) :])
        self._before = text

    def _decode(self, ids: list[int]) -> str:
        text: str = self._decoder(ids, skip_special_tokens=False)
        return text


def _special_ids(tokenizer: Any) -> set[int]:
    marked = {place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    return marked | set(tokenizer.all_special_ids)


def listener(answers: Sequence[AnswerDecoder], cancellation: Cancellation | None) -> Callable[..., Any]:
    """What `generate` asks after each token as a stopping criterion: hands the rows' newest ids to their answers, and
    tells which rows are at their end; all, once it is halted.
    """
    import torch

    told: tuple[list[bool], Any] = ([], None)  # the rows at their end, and the same on the device

    def listen(ids: Any, scores: Any, **_: Any) -> Any:
        nonlocal told
        for answer, token in zip(answers, ids[:, -1].tolist(), strict=True):
            answer.add(token)
        halted = cancellation is not None and cancellation.requested
        done = [answer.ended or halted for answer in answers]
        if done != told[0]:  # sent to the device when it changes, not with each token
            told = done, torch.tensor(done, dtype=torch.bool, device=ids.device)
        return told[1]

    return listen
