"""The GPU, as torch would tell of one."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.doctor import GIB, NAMES
from twinctl.doctor import probe


def pretend(monkeypatch: pytest.MonkeyPatch, *, driver: str | None = "570.86.15", **cuda: Any) -> None:
    """A torch built for CUDA 13.0 on a machine with this driver, whose `torch.cuda` says these things."""
    told = {"is_available": lambda: True, "device_count": lambda: 1, **cuda}
    torch = SimpleNamespace(__version__="2.14.1", version=SimpleNamespace(cuda="13.0"), cuda=SimpleNamespace(**told))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(probe, "nvidia_driver", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def device(name: str, major: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, major=major, minor=0, total_memory=80 * GIB)


@pytest.mark.parametrize(("able", "state"), [(12080, "failed"), (13000, "ok"), (13010, "ok"), (0, "ok")])
def test_a_torch_too_new_for_the_driver(monkeypatch: pytest.MonkeyPatch, able: int, state: str) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(probe, "_cuda_of_driver", lambda: able)
    found = probe.torch_build("torch")
    assert found.state == state
    if state == "failed":
        assert found.found == "2.14.1, built for CUDA 13.0; the driver knows CUDA up to 12.8"
        assert "--torch-backend=auto" in found.hint


def test_the_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, get_device_properties=lambda index: device("H200", 9))
    assert probe.gpu("gpu").found == "H200 (sm_90, 80 GiB), bf16"
    pretend(monkeypatch, get_device_properties=lambda index: device("T4", 7))
    assert probe.gpu("gpu").state == "warning"
    pretend(monkeypatch, is_available=lambda: False)
    assert probe.gpu("gpu").state == "failed"
    pretend(monkeypatch, driver=None)
    assert probe.gpu("gpu").state == "ok"
    pretend(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe.gpu("gpu").hint == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("free", "state", "hint"), [(79, "ok", ""), (12, "warning", "--method qlora"), (3, "warning", "--preset tiny")]
)
def test_free_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch, free: int, state: str, hint: str) -> None:
    pretend(monkeypatch, mem_get_info=lambda name: (free * GIB, 80 * GIB))
    found = probe.memory("memory")
    assert (found.state, found.found) == (state, f"{free}.0 of 80.0 GiB free")
    assert hint in found.hint


def test_the_document_is_one_and_nothing_else_is_said(cli: Cli, only: Any) -> None:
    only()
    done = cli("doctor", "--json").ok()
    document = json.loads(done.out)
    assert (document["command"], done.err) == ("doctor", "")
    assert all(set(check) == {"name", "state", "found", "hint"} for check in document["checks"])
    assert [check["name"] for check in document["checks"]] == NAMES[:5]
