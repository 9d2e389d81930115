"""The GPU is read from the driver where there is one, and nothing ever breaks where there is none."""

from __future__ import annotations

import queue
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from twinctl.planning import gpu
from twinctl.planning.gpu import Gpu, Utilisation, find_gpu

GIB = 2**30
UUIDS = ["GPU-aaaa-1", "GPU-bbbb-2"]


class FakeNvml(SimpleNamespace):
    """A driver with two GPUs; counts how often it is asked for their use."""

    def __init__(self) -> None:
        super().__init__(asked=0, open=0)

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return UUIDS[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return UUIDS[UUIDS.index(uuid)]

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return handle.encode()

    def nvmlDeviceGetName(self, handle: str) -> bytes:
        return f"NVIDIA {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(total=80 * GIB, free=70 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(gpu=self.asked)

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return (9, 0)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.1"


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    found = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def test_the_first_gpu_is_read(nvml: FakeNvml) -> None:
    assert find_gpu() == Gpu("NVIDIA GPU-aaaa-1", 80.0, 70.0, "580.1", 1, (9, 0))
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("visible", "name"),
    [
        ("1", "NVIDIA GPU-bbbb-2"),
        ("1,0", "NVIDIA GPU-bbbb-2"),
        (" 0 ", "NVIDIA GPU-aaaa-1"),
        ("GPU-bbbb-2", "NVIDIA GPU-bbbb-2"),
        ("GPU-bb", "NVIDIA GPU-bbbb-2"),
        ("", None),
        ("-1", None),
        ("7", None),
        ("GPU-cccc", None),
        ("MIG-of-none", None),
        ("nonsense", None),
    ],
)
def test_what_cuda_sees_is_respected(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str, name: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_gpu()
    assert (found and found.name) == name


def test_what_the_driver_does_not_tell_is_none(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("Not Supported")

    for question in ("UtilizationRates", "Name", "CudaComputeCapability"):
        monkeypatch.setattr(nvml, f"nvmlDeviceGet{question}", refuse, raising=False)
    assert find_gpu() == Gpu("NVIDIA GPU", 80.0, 70.0, "580.1", None, None)
    monkeypatch.setattr(nvml, "nvmlDeviceGetMemoryInfo", refuse, raising=False)
    assert find_gpu() is None


@pytest.mark.parametrize("library", [None, SimpleNamespace()])
def test_no_library_and_no_driver_are_no_gpu(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert find_gpu() is None
    assert Utilisation().latest is None


def test_a_training_never_waits_for_a_slow_driver(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: queue.Queue[int | None] = queue.Queue()

    def slow(handle: str) -> SimpleNamespace:
        if (answer := answers.get()) is None:
            raise RuntimeError("Not Supported")
        return SimpleNamespace(gpu=answer)

    monkeypatch.setattr(nvml, "nvmlDeviceGetUtilizationRates", slow, raising=False)
    monkeypatch.setattr(gpu, "MOMENT", 0.0)
    use = Utilisation()
    assert use.latest is None
    for answer in (97, 98, None):
        answers.put(answer)
        until = time.monotonic() + 10
        while use.latest != answer and time.monotonic() < until:
            time.sleep(0.001)
        assert use.latest == answer


def test_the_room_leaves_out_cuda_itself_and_what_others_have() -> None:
    found = Gpu("a", 80.0, 70.0)
    assert found.room_gib() == pytest.approx(69.4)
    assert found.room_gib(alone=True) == pytest.approx(79.4)
    assert found.room_gib(24.0) == 24.0
    assert Gpu("a", 80.0, 0.1).room_gib() == 0.0
