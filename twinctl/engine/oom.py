"""Memory that does not suffice for a model, in whatever words torch and other libraries report it.

What must stay true: the message of an error names what would need less memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twinctl.errors import EngineError
from twinctl.wording import first_line

# In the plain errors of CUDA, cuBLAS and the CPU's allocator, and of a 4-bit model that is partly placed elsewhere.
WORDS = ("out of memory", "allocate memory", "ALLOC_FAILED", "not fit in GPU memory", "enough GPU RAM")


@contextmanager
def enough_memory(four_bit: bool, failing: str, hint: str) -> Iterator[None]:
    """Inside, an out-of-memory error becomes an EngineError that says what would need less memory, and any other error
    of torch's one that says what is `failing`.
    """
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
    """Whether the error says that memory ran out, by its kind or its words."""
    import torch

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or (isinstance(error, (RuntimeError, ValueError)) and any(words in str(error) for words in WORDS))


def refuse_partly_loaded(model: Any) -> None:
    """Raise OutOfMemoryError if transformers left weights outside a GPU that is too small, which it does silently and
    Unsloth's kernels cannot work with.
    """
    import torch

    devices = {weight.device.type for weight in model.parameters()}
    if "cuda" in devices and len(devices) > 1:
        raise torch.OutOfMemoryError("the GPU has no room for all of its weights")
