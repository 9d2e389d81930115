"""A phase's recipe and options from their layers, each value with its origin.

What must stay true: a later layer replaces an earlier one field by field; every layer's values pass the same
validation; an error names the field, the layer it came from and the allowed values. twinctl.toml is read from the
working directory.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from twinctl.config.presets import DEFAULT, preset
from twinctl.config.recipe import option_names
from twinctl.config.secrets import refuse_secret
from twinctl.errors import ConfigError
from twinctl.wording import did_you_mean

CONFIG_FILE = "twinctl.toml"
SECTIONS = ("prepare", "train", "export", "chat")
PREFIX = "TWINCTL_"
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Values:
    """One section's values before validation, and where each came from ("preset tiny", "twinctl.toml", "flag", …)."""

    section: str
    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def build(self, model: type[M]) -> M:
        """The model's own fields of these values. Raises ConfigError naming the field and its origin."""
        own = {key: value for key, value in self.values.items() if key in model.model_fields}
        try:
            return model.model_validate(own)
        except ValidationError as error:
            raise self._explain(model, error) from error

    def _explain(self, model: type[BaseModel], error: ValidationError) -> ConfigError:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        place = f"{self.section}.{field}" if field else self.section
        origin = self.origins.get(field, "the defaults")
        given = "" if first["type"] == "missing" else f" = {first['input']!r}"
        hint = f"change {field} below [{self.section}] in {CONFIG_FILE}"
        if origin == "flag":
            origin = option_names(model, field)[0].split("/")[0]
            hint = f"give {origin} another value"
        elif origin.startswith(PREFIX):
            hint = f"change or unset {origin}"
        return ConfigError(f"{place}{given} (from {origin}): {first['msg']}", hint)


def config_file() -> dict[str, Any]:
    """twinctl.toml of the working directory, or nothing. Raises ConfigError with file and line when it is not TOML."""
    path = Path(CONFIG_FILE)
    if not path.exists():
        return {}
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{CONFIG_FILE}: {error}", f"fix {CONFIG_FILE}, or move it away and type: twinctl init"
        ) from error
    for key, value in parsed.items():
        if key in SECTIONS and not isinstance(value, dict):
            raise ConfigError(f"{CONFIG_FILE}: {key} must be a section", f"write [{key}] and its fields below it")
        if key not in (*SECTIONS, "preset"):
            raise ConfigError(f"{CONFIG_FILE}: unknown key “{key}”", _nearest(key, [*SECTIONS, "preset"]))
    return parsed


def preset_name(flag: str | None, pinned: str | None = None) -> str:
    """The preset in force: flag, environment, twinctl.toml, the run's pin, then the default."""
    return flag or os.environ.get(f"{PREFIX}PRESET") or config_file().get("preset") or pinned or DEFAULT


def values_of(
    section: str, models: tuple[type[BaseModel], ...], preset_chosen: str, flags: Mapping[str, Any]
) -> Values:
    """The section's values from all layers; a flag that is None was not given.

    Raises ConfigError for an unknown field in twinctl.toml or the environment, with the nearest name.
    """
    known = {name: field for model in models for name, field in model.model_fields.items()}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def layer(given: Mapping[str, Any], origin: str) -> None:
        for key, value in given.items():
            if key not in known:
                raise ConfigError(f"{origin}: [{section}] has no field “{key}”", _nearest(key, list(known)))
            refuse_secret(f"{section}.{key} (from {origin})", value)
            values[key], origins[key] = value, origin

    layer(preset(preset_chosen).get(section, {}), f"preset {preset_chosen}")
    layer(config_file().get(section, {}), CONFIG_FILE)
    start = f"{PREFIX}{section}_".upper()
    for variable, text in os.environ.items():
        if variable.startswith(start):
            key = variable.removeprefix(start).lower()
            layer({key: _from_text(text, known[key].annotation) if key in known else text}, variable)
    layer({key: value for key, value in flags.items() if value is not None}, "flag")
    return Values(section, values, origins)


def _from_text(text: str, annotation: Any) -> Any:
    """An environment variable's text as pydantic expects it: a list is comma-separated."""
    if getattr(annotation, "__origin__", None) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _nearest(key: str, known: list[str]) -> str:
    return did_you_mean(key, known, f"known: {', '.join(known)}")
