"""llama.cpp itself, over the C interface that xllamacpp's shared library exports: what it makes of a GGUF file.

What must stay true: the numbers are the raw logits, before any sampling. Native code can abort on a bad file, so a
caller that must survive it does this in a process of its own (see verification.isolated_process). Of the structures
that the interface passes by value, only what has stood still for years is touched (a batch; the first four numbers of a
context), and they are asked back from llama.cpp: a library with another layout is refused, not believed.

Source: include/llama.h of github.com/ggml-org/llama.cpp (MIT).
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int8, c_int32, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinctl.errors import CheckFailed, EngineError
from twinctl.gguf.library import load_library

BATCH = 256  # tokens in one call: their logits over 128,000 tokens are 131 MB

_LOG = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
_ERROR_LEVEL = 4  # enum ggml_log_level


class _Parameters(ctypes.Structure):
    """llama_model_params or llama_context_params; larger than both, which by-value passing in memory allows."""

    _fields_ = [("words", c_uint32 * 256)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("count", c_int32),
        ("token", POINTER(c_int32)),
        ("embeddings", POINTER(c_float)),
        ("position", POINTER(c_int32)),
        ("sequences", POINTER(c_int32)),
        ("sequence", POINTER(POINTER(c_int32))),
        ("wanted", POINTER(c_int8)),
    ]


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "llama_backend_init": (None,),
    "llama_log_set": (None, _LOG, c_void_p),
    "llama_model_default_params": (_Parameters,),
    "llama_context_default_params": (_Parameters,),
    "llama_model_load_from_file": (c_void_p, c_char_p, _Parameters),
    "llama_model_free": (None, c_void_p),
    "llama_model_get_vocab": (c_void_p, c_void_p),
    "llama_init_from_model": (c_void_p, c_void_p, _Parameters),
    "llama_free": (None, c_void_p),
    "llama_set_n_threads": (None, c_void_p, c_int32, c_int32),
    "llama_n_ctx": (c_uint32, c_void_p),
    "llama_n_batch": (c_uint32, c_void_p),
    "llama_n_ubatch": (c_uint32, c_void_p),
    "llama_n_seq_max": (c_uint32, c_void_p),
    "llama_batch_init": (_Batch, c_int32, c_int32, c_int32),
    "llama_batch_free": (None, _Batch),
    "llama_decode": (c_int32, c_void_p, _Batch),
    "llama_get_logits_ith": (POINTER(c_float), c_void_p, c_int32),
    "llama_vocab_n_tokens": (c_int32, c_void_p),
    "llama_vocab_eos": (c_int32, c_void_p),
    "llama_vocab_is_eog": (c_bool, c_void_p, c_int32),
    "llama_tokenize": (c_int32, c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
}


@cache
def _library() -> Any:
    """The shared library, ready for use. Raises EngineError where there is none with these functions."""
    library = load_library(_SIGNATURES)
    library.llama_log_set(_keep_errors, None)
    library.llama_backend_init()
    return library


_errors: list[str] = []


@_LOG  # type: ignore[untyped-decorator]
def _keep_errors(level: int, text: bytes, _: Any) -> None:
    if level == _ERROR_LEVEL:
        _errors.append(text.decode(errors="replace").strip())


@dataclass(frozen=True)
class Greedy:
    """The most probable continuation, stop token included. `ended`: by a stop token; `cut`: by lack of time."""

    ids: list[int]
    ended: bool
    cut: bool = False


class Llama:
    """A GGUF file, loaded. Close it after use."""

    def __init__(self, path: Path) -> None:
        """Raises CheckFailed for a file that llama.cpp does not load, with the reason that it gave."""
        self._library = _library()
        _errors.clear()
        self._model = self._library.llama_model_load_from_file(
            os.fsencode(path), self._library.llama_model_default_params()
        )
        if not self._model:
            raise CheckFailed(f"llama.cpp does not load {path.name}: {'; '.join(_errors[:2]) or 'it says no reason'}")
        self._vocabulary = self._library.llama_model_get_vocab(self._model)
        self.size = int(self._library.llama_vocab_n_tokens(self._vocabulary))
        self.eos = int(self._library.llama_vocab_eos(self._vocabulary))

    def close(self) -> None:
        """Free the model."""
        if self._model:
            self._library.llama_model_free(self._model)
            self._model = None

    def ends(self, token: int) -> bool:
        """Whether generation ends at this token."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """The ids of a text; special tokens in it count as such. `special`: with BOS and EOS as the file says."""
        data = text.encode()
        room = (c_int32 * (len(data) + 8))()
        count = self._library.llama_tokenize(self._vocabulary, data, len(data), room, len(room), special, True)
        if count < 0:
            raise CheckFailed(f"llama.cpp makes {-count} tokens of {len(data)} bytes")
        return list(room[:count])

    def logits(self, ids: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The next token's logits after each of the ids, in blocks of up to BATCH rows; each valid until the next."""
        with self._context(len(ids), 1) as (context, batch):
            for start in range(0, len(ids), BATCH):
                part = ids[start : start + BATCH]
                self._decode(context, batch, [(token, start + at, 0, True) for at, token in enumerate(part)])
                yield np.stack([self._row(context, at) for at in range(len(part))])

    def greedy(
        self,
        prompts: Sequence[Sequence[int]],
        limit: int,
        deadline: float = float("inf"),
        progress: Callable[[int], None] = lambda longest: None,
    ) -> list[Greedy]:
        """The most probable answers of up to `limit` tokens, all prompts side by side, until they end or time is up.

        `deadline` is in time.monotonic's seconds; `progress` is called with the longest answer's tokens so far.
        """
        if not prompts:
            return []
        longest = max(map(len, prompts)) + limit
        answers: list[list[int]] = [[] for _ in prompts]
        with self._context(longest * len(prompts), len(prompts)) as (context, batch):
            for sequence, prompt in enumerate(prompts):
                row = self._read_prompt(context, batch, sequence, prompt)
                answers[sequence].append(int(self._row(context, row).argmax()))
            while open_ones := [at for at, ids in enumerate(answers) if not self.ends(ids[-1]) and len(ids) < limit]:
                if time.monotonic() > deadline:
                    break
                step = [(answers[at][-1], len(prompts[at]) + len(answers[at]) - 1, at, True) for at in open_ones]
                self._decode(context, batch, step)
                for row, at in enumerate(open_ones):
                    answers[at].append(int(self._row(context, row).argmax()))
                progress(max(map(len, answers)))
        return [Greedy(ids, self.ends(ids[-1]), not self.ends(ids[-1]) and len(ids) < limit) for ids in answers]

    def _read_prompt(self, context: Any, batch: _Batch, sequence: int, prompt: Sequence[int]) -> int:
        """Read a prompt into a sequence. The row of the last batch whose logits are those of the answer's first token:
        see `_row`.
        """
        for start in range(0, len(prompt), BATCH):
            part = list(enumerate(prompt))[start : start + BATCH]
            self._decode(context, batch, [(token, at, sequence, at + 1 == len(prompt)) for at, token in part])
        return (len(prompt) - 1) % BATCH

    def _row(self, context: Any, at: int) -> NDArray[np.float32]:
        """The logits of the batch's token `at`: a view, valid until the next decoding."""
        return np.ctypeslib.as_array(self._library.llama_get_logits_ith(context, at), (self.size,))

    def _decode(self, context: Any, batch: _Batch, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """Run (token, position, sequence, whether its logits are wanted) through the model."""
        for at, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[at], batch.position[at], batch.wanted[at] = token, position, wanted
            batch.sequences[at], batch.sequence[at][0] = 1, sequence
        batch.count = len(tokens)
        if status := self._library.llama_decode(context, batch):
            raise EngineError(f"llama.cpp could not compute (llama_decode gave {status}): {'; '.join(_errors[-2:])}")

    @contextmanager
    def _context(self, positions: int, sequences: int) -> Iterator[tuple[Any, _Batch]]:
        """Room for so many positions, shared evenly by so many sequences, and a batch to fill."""
        wanted = (-(-max(positions, 1) // (256 * sequences)) * 256 * sequences, BATCH, BATCH, sequences)
        parameters = self._library.llama_context_default_params()
        for at, value in enumerate(wanted):
            parameters.words[at] = value
        context = self._library.llama_init_from_model(self._model, parameters)
        if not context:
            raise EngineError(f"llama.cpp has no room for {positions} positions: {'; '.join(_errors[-2:])}")
        batch = self._library.llama_batch_init(BATCH, 0, 1)
        try:
            self._refuse_another_layout(context, batch, wanted)
            threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
            self._library.llama_set_n_threads(context, threads, threads)
            yield context, batch
        finally:
            self._library.llama_batch_free(batch)
            self._library.llama_free(context)

    def _refuse_another_layout(self, context: Any, batch: _Batch, wanted: tuple[int, ...]) -> None:
        names = ("llama_n_ctx", "llama_n_batch", "llama_n_ubatch", "llama_n_seq_max")
        sizes = tuple(int(getattr(self._library, name)(context)) for name in names)
        pointers = (batch.token, batch.position, batch.sequences, batch.sequence, batch.wanted)
        if sizes != wanted or not all(pointers) or batch.embeddings or batch.count:
            raise EngineError(
                f"this xllamacpp's llama.cpp lays out its structures in another way ({sizes} for {wanted})",
                "install the version that twinctl was tested with: uv sync",
            )
