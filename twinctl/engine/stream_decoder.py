"""Token ids as they are generated → the text of an answer, piece by piece.

What must stay true: text comes in whole characters; special tokens are counted and never text; the pieces together are
what the ids decode to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from twinctl.inference.cancellation import Cancellation
from twinctl.inference.chat_model import Answer, Finish, Show
from twinctl.inference.stop_sequences import StopSequenceFilter

CONTEXT_IDS = 8  # ids before the next ones that are decoded with them
REPLACEMENT_CHARACTER = "\ufffd"  # what a decoder writes for a character whose last bytes are still to come


class AnswerDecoder:
    """One answer while it is generated. `stops`: the ids that end it; `ended`: by one of them or by a stop text."""

    def __init__(self, tokenizer: Any, stops: Collection[int], texts: Sequence[str], show: Show) -> None:
        added = tokenizer.added_tokens_decoder.items()
        self._specials = {token_id for token_id, token in added if token.special} | set(tokenizer.all_special_ids)
        self._stops = stops
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)  # what is around it costs more than decoding
        self._decoder: Callable[..., str] = backend.decode
        self._filter = StopSequenceFilter(texts, show)
        self._ids: list[int] = []
        self._start, self._passed_on = 0, ""  # where decoding starts, and what of its text was passed on
        self.tokens = self.specials = 0
        self.ended = False
        self.first: float | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return self._filter.text

    def add(self, token: int) -> None:
        """The next id; those after the end are ignored."""
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
            self._decode_new()
            self.ended = self._filter.stopped

    def close(
        self,
        seconds: float = 0.0,
        *,
        unfinished: Finish = "length",
        prompt_tokens: int = 0,
        began: float = 0.0,
        seed: int = 0,
    ) -> Answer:
        """The answer, after its last id; `unfinished`: why it ended, if it did not end by itself.

        A last character that lacks bytes is left out.
        """
        self._pass_on(self._decode(self._ids[self._start :]).rstrip(REPLACEMENT_CHARACTER))
        self._filter.end()
        return Answer(
            self.text,
            self.tokens,
            "stop" if self.ended else unfinished,
            seconds,
            prompt_tokens=prompt_tokens,
            first_token_seconds=self.first - began if self.first else 0.0,
            seed=seed,
            specials=self.specials,
        )

    def _decode_new(self) -> None:
        """Pass on the new text. Ids are decoded together with some before them, as a word's space depends on those."""
        text = self._decode(self._ids[self._start :])
        if text.endswith(REPLACEMENT_CHARACTER):
            return
        self._pass_on(text)
        if len(self._ids) - self._start >= CONTEXT_IDS * 2:
            self._start = len(self._ids) - CONTEXT_IDS
            self._passed_on = self._decode(self._ids[self._start :])

    def _pass_on(self, text: str) -> None:
        self._filter.add(text[len(self._passed_on) :])
        self._passed_on = text

    def _decode(self, ids: list[int]) -> str:
        text: str = self._decoder(ids, skip_special_tokens=False)
        return text


def stopping_criterion(decoders: Sequence[AnswerDecoder], cancellation: Cancellation | None) -> Callable[..., Any]:
    """What `generate` calls after each token: it hands the rows' newest ids to their decoders, and returns which rows
    are at their end; all of them, once the answer is cancelled.
    """
    import torch

    last: tuple[list[bool], Any] = ([], None)  # the rows at their end, and the same on the device

    def criterion(ids: Any, scores: Any, **_: Any) -> Any:
        nonlocal last
        for decoder, token in zip(decoders, ids[:, -1].tolist(), strict=True):
            decoder.add(token)
        cancelled = cancellation is not None and cancellation.requested
        ended = [decoder.ended or cancelled for decoder in decoders]
        if ended != last[0]:  # sent to the device when it changes, not with each token
            last = ended, torch.tensor(ended, dtype=torch.bool, device=ids.device)
        return last[1]

    return criterion
