"""Memory that does not suffice for a model that answers, however torch and what is around it say so.

What must stay true: whoever has too little memory is told what would need less.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twinctl.errors import EngineError

# In the plain errors of CUDA, cuBLAS and the CPU's allocator, and of a 4-bit model that is partly placed elsewhere.
WORDS = ("out of memory", "allocate memory", "ALLOC_FAILED", "not fit in GPU memory", "enough GPU RAM")


@contextmanager
def enough_memory(four_bit: bool, failing: str, hint: str) -> Iterator[None]:
    """Inside, memory that does not suffice is an EngineError with what would; anything else of torch's, `failing`."""
    try:
        yield
    except Exception as error:
        cause = (error.__cause__ or error) if isinstance(error, EngineError) else error
        if is_oom(cause):
            smaller = "a shorter prompt or answer, or a smaller model" if four_bit else "add --4bit: a quarter of it"
            raise EngineError(f"not enough memory for the model: {first_line(cause)}", smaller) from cause
        if isinstance(error, RuntimeError):
            raise EngineError(f"{failing}: {first_line(error)}", hint) from error
        raise


def is_oom(error: BaseException | None) -> bool:
    """Whether that is what went wrong, by the error's kind or its words."""
    import torch

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or (isinstance(error, (RuntimeError, ValueError)) and any(words in str(error) for words in WORDS))


def refuse_partly_loaded(model: Any) -> None:
    """Raise OutOfMemoryError where transformers left weights outside a GPU that is too small, which it does in silence:
    Unsloth's kernels cannot work with those.
    """
    import torch

    places = {weight.device.type for weight in model.parameters()}
    if "cuda" in places and len(places) > 1:
        raise torch.OutOfMemoryError("the GPU has no room for all of its weights")


def first_line(error: object) -> str:
    """What an error says in its first line, without torch's account of who holds which memory and how to mend that."""
    return next(iter(str(error).splitlines()), type(error).__name__).split(" Including non-PyTorch memory")[0]
