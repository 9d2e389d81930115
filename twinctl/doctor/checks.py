"""A finding, and the checks that need nothing heavy.

What must stay true: a check that fails in a way nobody thought of is a finding too, never a traceback.
"""

from __future__ import annotations

import operator
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Literal

from twinctl.errors import ConfigError, SigTerm, explained
from twinctl.planning.device import nvidia_driver
from twinctl.wording import GIB
from twinctl.workspace.disk import free_bytes, nearest_existing
from twinctl.workspace.workspace import Workspace

ROOM_FOR_8B = 40
"""GiB that an 8B model takes from its download to its GGUF file: 16 and 16 and 5, and checkpoints."""
ROOM_AT_ALL = 1
SMALL_MODELS = "small models train here all the same (twinctl demo); for an 8B model rent a GPU with 24 GB"


@dataclass(frozen=True)
class Finding:
    """One check's result: `found` is what there is, `hint` what to type or change where something is wrong."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    hint: str = ""


def checked(name: str, check: Callable[[str], Finding], hint: str, *, show_text: bool = True) -> Finding:
    """The check's finding; an exception is one, with `hint` where it has none of its own.

    `show_text=False` shows the exception's class alone, where its text could quote a secret.
    """
    try:
        return check(name)
    except SigTerm:
        raise
    except (Exception, SystemExit) as error:
        if known := explained(error):
            return Finding(name, "failed", known.message, known.hint or hint)
        text = " ".join(str(error).split())[:300] if show_text else ""
        return Finding(name, "failed", f"{type(error).__name__}{text and ': '}{text}", hint)


def python(name: str) -> Finding:
    """Whether twinctl's own requirement is met, which pip looks at only when it installs."""
    wanted = metadata("twinctl")["Requires-Python"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    compare = {">=": operator.ge, "<": operator.lt}
    bounds = re.findall(r"(>=|<)\s*(\d+)\.(\d+)", wanted)
    if all(compare[sign](sys.version_info[:2], (int(major), int(minor))) for sign, major, minor in bounds):
        return Finding(name, "ok", f"{version} at {sys.executable}")
    return Finding(name, "failed", f"{version}, and twinctl wants {wanted}", "uv python install 3.12")


def locks(name: str, root: Path) -> Finding:
    """Whether a workspace at `root` can be written and its locks hold; tried in a temporary folder next to it."""
    folder = nearest_existing(root)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".twinctl-doctor-") as trial:
        try:
            Workspace(Path(trial)).create()
        except ConfigError as error:
            raise ConfigError(error.message.replace(trial, str(folder)), error.hint) from error
    return Finding(name, "ok", f"locks, renames and flushes hold at {folder.absolute()}")


def disk(name: str, folder: Path, hint: str) -> Finding:
    """The room on the disk where the folder is or would be made."""
    free = free_bytes(folder) / GIB
    facts = f"{free:.1f} GiB free at {folder.absolute()}"
    if free >= ROOM_FOR_8B:
        return Finding(name, "ok", facts)
    facts += f"; an 8B model takes about {ROOM_FOR_8B} (base 16, merged 16, GGUF 5)"
    return Finding(name, "warning" if free >= ROOM_AT_ALL else "failed", facts, hint)


def model_cache(name: str) -> Finding:
    """The room where the Hub's client puts models."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return disk(name, Path(HF_HUB_CACHE), "hf cache rm removes models; or choose another disk: export HF_HOME=DIR")


def driver(name: str) -> Finding:
    """The NVIDIA driver, as twinctl decides by it between GPU and CPU."""
    version = nvidia_driver()
    if version is None:
        return Finding(name, "warning", "no NVIDIA driver: training runs on the CPU", SMALL_MODELS)
    return Finding(name, "ok", "NVIDIA's, under Windows" if version == "present" else f"NVIDIA {version}")
