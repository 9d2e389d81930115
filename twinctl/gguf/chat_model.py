"""A GGUF file that answers, through llama.cpp's runtime.

What must stay true: the prompt's text is the run's template, its ids are what the file's own tokenizer makes of it, and
generation ends where the file says; so an answer shows what others will get who run the file.
"""

from __future__ import annotations

import codecs
import ctypes
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinctl.config.sampling import Sampling
from twinctl.data.template import Message, Template
from twinctl.errors import CheckFailed, UpstreamError
from twinctl.gguf.runtime import Llama
from twinctl.inference.chat_model import (
    DEFAULT_WINDOW,
    Answer,
    Finish,
    PromptFormat,
    Show,
    is_made_for_single_turns,
    last_question,
    refuse_long,
)
from twinctl.inference.stop_sequences import StopSequenceFilter

FEW = 1024  # tokens among which the next one nearly always is


class StreamingLlama(Llama):
    """The runtime, with one answer token by token."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        about, piece = self._library.llama_model_n_ctx_train, self._library.llama_token_to_piece
        about.restype, about.argtypes = ctypes.c_int32, [ctypes.c_void_p]
        piece.restype = ctypes.c_int32
        piece.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, *[ctypes.c_int32] * 2, ctypes.c_bool]
        self.trained_context = int(about(self._model))

    def piece(self, token: int) -> bytes:
        """A token's bytes, of which a character can need several tokens; of a special one, none."""
        room = ctypes.create_string_buffer(256)
        count = self._library.llama_token_to_piece(self._vocabulary, token, room, len(room), 0, False)
        return room.raw[: max(count, 0)]

    def stream(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> Iterator[int]:
        """The answer's tokens, stop token included, up to `limit`."""
        random = np.random.default_rng(sampling.seed)
        seen = list(prompt)
        with self._context(len(prompt) + limit, 1) as (context, batch):
            row = self._read_prompt(context, batch, 0, prompt)
            for _ in range(limit):
                token = chosen(self._row(context, row), seen, sampling, random)
                yield token
                if self.ends(token):
                    return
                if len(seen) + 1 < len(prompt) + limit:
                    self._decode(context, batch, [(token, len(seen), 0, True)])
                seen.append(token)
                row = 0


class GgufChatModel:
    """The protocol `inference.chat_model.ChatModel`, fulfilled by llama.cpp."""

    def __init__(self, llama: StreamingLlama, template: Template, name: str) -> None:
        self._llama, self._template, self.name = llama, template, name
        self.context = min(llama.trained_context or DEFAULT_WINDOW, DEFAULT_WINDOW)
        self.is_single_turn = is_made_for_single_turns(template.text)

    @classmethod
    def load(cls, path: Path, prompt_format: PromptFormat) -> GgufChatModel:
        """Load a file. Raises UpstreamError if llama.cpp does not load it."""
        _, template = prompt_format.load()
        try:
            llama = StreamingLlama(path)
        except CheckFailed as error:
            raise UpstreamError(error.message, "export it again: twinctl export --gguf --restart") from error
        return cls(llama, template, path.name)

    def close(self) -> None:
        """Free the model."""
        self._llama.close()

    def count(self, messages: list[Message]) -> int:
        """See ChatModel.count."""
        return len(self._ids(messages))

    def answers(self, conversations: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        """See ChatModel.answers; one after the other."""
        return [self._answered(messages, sampling, lambda piece: None, stoppable=False) for messages in conversations]

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        """See ChatModel.answer."""
        return self._answered(messages, sampling, show, stoppable=True)

    def _answered(self, messages: list[Message], sampling: Sampling, show: Show, *, stoppable: bool) -> Answer:
        began, first = time.monotonic(), 0.0
        prompt = self._ids(messages)
        refuse_long(len(prompt), self.context)
        limit = min(sampling.max_new_tokens, self.context - len(prompt))
        growing, letters = StopSequenceFilter(sampling.stop, show), codecs.getincrementaldecoder("utf-8")("replace")
        tokens = specials = 0
        finish: Finish = "length"
        try:
            for token in self._llama.stream(prompt, sampling, limit):
                first = first or time.monotonic() - began
                tokens += 1
                piece = self._llama.piece(token)
                growing.add(letters.decode(piece))
                if self._llama.ends(token) or growing.stopped:
                    finish = "stop"
                    break
                specials += not piece
        except KeyboardInterrupt:
            if not stoppable:
                raise
            finish = "interrupted"
        growing.end()  # a character whose bytes did not all come is none
        seconds = time.monotonic() - began
        return Answer(growing.text, tokens, finish, seconds, len(prompt), first, sampling.seed, specials)

    def _ids(self, messages: list[Message]) -> list[int]:
        seen = last_question(messages) if self.is_single_turn else messages
        return self._llama.tokenize(self._template.prompt(seen), special=False)


def chosen(logits: NDArray[np.float32], seen: Sequence[int], sampling: Sampling, random: np.random.Generator) -> int:
    """The next token: penalty, then temperature, top-k, top-p and min-p, in transformers' order."""
    scores = logits.astype(np.float64)
    if sampling.repetition_penalty != 1.0:
        repeated = np.unique(np.asarray(seen))
        factor = sampling.repetition_penalty
        scores[repeated] = np.where(scores[repeated] < 0, scores[repeated] * factor, scores[repeated] / factor)
    if sampling.temperature == 0:
        return int(scores.argmax())
    scores /= sampling.temperature
    if sampling.top_k:
        order = _likeliest(scores, sampling.top_k)
        chances = _softmax(scores[order])
    else:
        every, order = _softmax(scores), _likeliest(scores, FEW)
        if every[order].sum() < sampling.top_p:
            order = _likeliest(scores, len(scores))
        chances = every[order]
    kept = np.cumsum(chances) - chances < sampling.top_p
    kept &= chances >= sampling.min_p * chances[0]
    kept[0] = True
    chances = np.where(kept, chances, 0.0)
    return int(random.choice(order, p=chances / chances.sum()))


def _likeliest(scores: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """That many tokens, the likeliest first. To sort a whole vocabulary takes as long as to compute a token may."""
    tokens = np.argpartition(scores, -count)[-count:] if count < len(scores) else np.arange(len(scores))
    ordered: NDArray[np.intp] = tokens[np.argsort(-scores[tokens])]
    return ordered


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    chances: NDArray[np.float64] = powers / powers.sum()
    return chances
