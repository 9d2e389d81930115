"""Which device the work will run on, and the refusal when that would be a bad surprise. Imports nothing heavy.

What must stay true: a machine whose NVIDIA GPU torch cannot use never falls silently to the CPU, and a model over 500
million parameters trains on a CPU only when `--device cpu` says so.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

from twinctl.errors import EngineError

DRIVER_FILE = Path("/proc/driver/nvidia/version")
WSL_DRIVER = Path("/usr/lib/wsl/lib/nvidia-smi")
LARGE_MODEL = 500_000_000
FIRST_UNSLOTH_WITH_CPU = (2026, 10, 9)


def nvidia_driver() -> str | None:
    """The NVIDIA driver's version, "present" where it cannot be read (WSL2), None without one."""
    if DRIVER_FILE.exists():
        match = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", DRIVER_FILE.read_text(encoding="utf-8", errors="replace"))
        return match[1] if match else "present"
    return "present" if WSL_DRIVER.exists() else None


def refuse_early(device: str, parameters: int) -> None:
    """Raise EngineError for what can be known without importing torch, before a worker starts or a model downloads.

    `parameters`: the base model's, estimated from its files.
    """
    if device == "cuda" and nvidia_driver() is None:
        raise EngineError("there is no NVIDIA driver on this machine", "use --device cpu, or a machine with a GPU")
    if device != "cpu" and nvidia_driver() is not None and not gpus_are_hidden():
        return
    unsloth = version("unsloth")
    if tuple(int(part) for part in re.findall(r"\d+", unsloth)[:3]) < FIRST_UNSLOTH_WITH_CPU:
        raise EngineError(
            f"unsloth {unsloth} cannot train without a GPU",
            'install the one that can: pip install --no-deps "unsloth==2026.10.9" "unsloth_zoo==2026.10.9"',
        )
    if device != "cpu" and parameters > LARGE_MODEL:
        raise EngineError(
            f"this machine has no GPU to use, and the model has about {parameters / 1e9:.1f} billion parameters",
            "rent a GPU, choose a small model (--preset tiny), or insist with --device cpu",
        )


def gpus_are_hidden() -> bool:
    """Whether the environment keeps CUDA programs from every GPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")


def require_usable_gpu(device: str) -> None:
    """Raise EngineError when there is an NVIDIA driver but torch cannot use the GPU. Imports torch."""
    driver = nvidia_driver()
    if device == "cpu" or driver is None:
        return
    import torch

    if torch.cuda.is_available() or gpus_are_hidden():
        return
    raise EngineError(
        f"this machine has an NVIDIA driver ({driver}), but torch {torch.__version__} "
        f"(built for CUDA {torch.version.cuda or 'none'}) cannot use the GPU",
        "update the driver, or install the torch build for it; to use the CPU all the same: train --device cpu, or put "
        "CUDA_VISIBLE_DEVICES= before the command",
    )
