"""What can be refused before anything heavy is loaded is refused, with the line that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinctl.errors import EngineError
from twinctl.planning import device
from twinctl.planning.device import nvidia_driver, refuse_early

DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 03:00:00 UTC 2025\nGCC version: 12\n"
TINY, SMALL, LARGE = 5_000_000, 500_000_000, 8_030_000_000


@pytest.fixture(autouse=True)
def driver_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without an NVIDIA driver and with an Unsloth that has a CPU backend; its driver files' folder."""
    monkeypatch.setattr(device, "DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(device, "WSL_DRIVER", tmp_path / "nvidia-smi")
    monkeypatch.setattr(device, "version", lambda name: "2026.10.9")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def refusal(chosen: str, parameters: int) -> str:
    """Why the device is refused for a model of so many parameters; empty when it is not."""
    try:
        refuse_early(chosen, parameters)
    except EngineError as error:
        return error.message
    return ""


def test_the_driver_s_version_is_read(driver_folder: Path) -> None:
    assert nvidia_driver() is None
    (driver_folder / "version").write_text(DRIVER)
    assert nvidia_driver() == "570.86.15"


@pytest.mark.parametrize("name", ["version", "nvidia-smi"])
def test_a_driver_whose_version_cannot_be_read_is_present(driver_folder: Path, name: str) -> None:
    (driver_folder / name).write_bytes(b"\xff something else")
    assert nvidia_driver() == "present"


@pytest.mark.parametrize("parameters", [0, TINY, SMALL])
def test_a_small_model_goes_on_without_a_gpu(parameters: int) -> None:
    assert refusal("auto", parameters) == ""


def test_a_large_model_without_a_gpu_is_refused_until_insisted_on() -> None:
    with pytest.raises(EngineError, match=r"no GPU to use, .* about 8\.0 billion parameters") as caught:
        refuse_early("auto", LARGE)
    assert "--device cpu" in caught.value.hint
    assert refusal("cpu", LARGE) == ""


def test_a_large_model_with_a_driver_goes_on(driver_folder: Path) -> None:
    (driver_folder / "version").write_text(DRIVER)
    assert refusal("auto", LARGE) == refusal("cuda", LARGE) == ""


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_large_model_on_hidden_gpus_is_refused_as_without_any(
    driver_folder: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    (driver_folder / "version").write_text(DRIVER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with pytest.raises(EngineError) as caught:
        refuse_early("auto", LARGE)
    assert "--device cpu" in caught.value.hint
    assert refusal("auto", TINY) == ""


def test_cuda_without_a_driver_is_refused() -> None:
    with pytest.raises(EngineError, match="no NVIDIA driver") as caught:
        refuse_early("cuda", TINY)
    assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize("found", ["2026.10.7", "2026.10.8.post1", "2025.12.30", "2026.9.30"])
@pytest.mark.parametrize("chosen", ["auto", "cpu"])
def test_an_unsloth_without_a_cpu_backend_is_refused_where_it_would_be_needed(
    monkeypatch: pytest.MonkeyPatch, found: str, chosen: str
) -> None:
    monkeypatch.setattr(device, "version", lambda name: found)
    with pytest.raises(EngineError, match=f"unsloth {found} cannot train without a GPU") as caught:
        refuse_early(chosen, TINY)
    assert 'pip install --no-deps "unsloth==2026.10.9"' in caught.value.hint


@pytest.mark.parametrize("found", ["2026.10.9", "2026.10.10", "2026.11.1", "2027.1.1.dev0"])
def test_a_later_unsloth_is_not_refused(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(device, "version", lambda name: found)
    assert refusal("cpu", TINY) == ""


def test_an_old_unsloth_is_good_enough_for_a_gpu(driver_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (driver_folder / "version").write_text(DRIVER)
    monkeypatch.setattr(device, "version", lambda name: "2026.10.7")
    assert refusal("auto", LARGE) == ""
