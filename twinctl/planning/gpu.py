"""The GPU as its driver tells of it: known in a moment, without torch and without using any of its memory.

What must stay true: nothing here raises. Where there is no driver, no library or no answer, there is None. The GPU is
the one that torch will take: the first of CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twinctl.wording import GIB

CONTEXT = 0.6  # GiB that CUDA itself takes of each process's GPU before the first tensor
MOMENT = 1.0  # the driver averages over as long, so asking more often tells nothing


@dataclass(frozen=True)
class Gpu:
    """A GPU and its state now. `utilisation`: per cent; `capability`: (9, 0) for Hopper."""

    name: str
    total_gib: float
    free_gib: float
    driver: str | None = None
    utilisation: int | None = None
    capability: tuple[int, int] | None = None

    def room_gib(self, limit: float | None = None, *, alone: bool = False) -> float:
        """What tensors may take: what is free, or with `alone` what would be if nobody else used it, up to a limit."""
        room = max((self.total_gib if alone else self.free_gib) - CONTEXT, 0.0)
        return room if limit is None else min(room, limit)


def find_gpu() -> Gpu | None:
    """The first GPU that CUDA programs see here."""
    nvml = _start()
    if nvml is None:
        return None
    try:
        handle = _first(nvml)
        memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle) if handle else None
        if memory is None:
            return None
        rates = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        return Gpu(
            name=_text(_ask(nvml.nvmlDeviceGetName, handle)) or "NVIDIA GPU",
            total_gib=memory.total / GIB,
            free_gib=memory.free / GIB,
            driver=_text(_ask(nvml.nvmlSystemGetDriverVersion)),
            utilisation=None if rates is None else int(rates.gpu),
            capability=_ask(nvml.nvmlDeviceGetCudaComputeCapability, handle),
        )
    finally:
        _ask(nvml.nvmlShutdown)


class Utilisation:
    """How busy the GPU is, for a training that asks at every step: known at no cost, since a thread asks the driver,
    which may take as long as it likes (tens of milliseconds in a virtual machine, while the GPU would stand still).
    """

    def __init__(self) -> None:
        self.latest: int | None = None  # per cent; None before the first answer, and where there is none
        threading.Thread(target=self._ask_on, name="gpu-utilisation", daemon=True).start()

    def _ask_on(self) -> None:
        nvml = _start()
        handle = _first(nvml) if nvml else None
        while nvml and handle:
            rates = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
            self.latest = None if rates is None else int(rates.gpu)
            time.sleep(MOMENT)


def _start() -> Any | None:
    """The driver's library, ready to be asked; None without one."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or one that does not match its kernel module
        return None
    return pynvml


def _first(nvml: Any) -> Any | None:
    """The handle of the first visible GPU. CUDA numbers them as the driver does on machines with GPUs of one kind."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if visible.lstrip("-").isdigit():
        return _ask(nvml.nvmlDeviceGetHandleByIndex, int(visible)) if int(visible) >= 0 else None
    if visible.startswith("MIG-"):
        return _ask(nvml.nvmlDeviceGetHandleByUUID, visible)
    for index in range(_ask(nvml.nvmlDeviceGetCount) or 0):  # CUDA takes the beginning of an id for the whole
        handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
        if visible and handle and (_text(_ask(nvml.nvmlDeviceGetUUID, handle)) or "").startswith(visible):
            return handle
    return None


def _ask(question: Callable[..., Any], *words: Any) -> Any | None:
    """The driver's answer, None where it has none: parts of a GPU and some kinds of it do not tell everything."""
    try:
        return question(*words)
    except Exception:  # the library's own error, or that of a driver older than the question
        return None


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
