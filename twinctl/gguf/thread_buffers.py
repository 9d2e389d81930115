"""Memory of each thread's own, used again: of fresh memory the machine gives out, and takes back, every 4 KiB apart,
which takes longer than reading a weight does.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

_own = threading.local()


def scratch(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """An array of this thread, valid until it asks for the next one of that type. What is in it is left from before."""
    name, size = np.dtype(dtype).str, prod(shape)
    if getattr(_own, name, np.empty(0)).size < size:
        setattr(_own, name, np.empty(size, dtype))
    return np.asarray(getattr(_own, name)[:size].reshape(shape))
