"""Presets as data: one TOML file each, in this folder. A preset sets fields; it never adds a code path."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

from twinctl.errors import ConfigError

DEFAULT = "twinllama"
NAMES = ("twinllama", "tiny")


def preset(name: str) -> dict[str, Any]:
    """The preset's values by section. Raises ConfigError for an unknown name, with the names there are."""
    if name not in NAMES:
        raise ConfigError(f"there is no preset “{name}”", f"presets: {', '.join(NAMES)}")
    return tomllib.loads((files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))
