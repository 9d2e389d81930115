"""The two bases: `Recipe` enters the fingerprint with every field; `Options` never does. And how a field is a flag.

What must stay true: a field is written once. Its name, type, choices, default, range and help are the model's; the
command line, the settings page of the manual and the errors are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict


class Recipe(BaseModel):
    """Frozen; unknown fields are an error. Every field is hashed, defaults included, so `auto` stays `auto`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(BaseModel):
    """Frozen; unknown fields are an error. Nothing in here may change the result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Flag:
    """A field's place on the command line, as an annotation of the field; a field without one has no option.

    `panel`: the section of `--help`. `names`: the option's names where they are not `--` and the field's name, with
    `/--other` behind the first for what switches a yes-or-no field off. `takes`: what the help calls the value.
    """

    panel: str
    names: tuple[str, ...] = ()
    takes: str | None = None


def flag_of(model: type[BaseModel], name: str) -> Flag | None:
    """The field's place on the command line, None where it has none."""
    return next((item for item in model.model_fields[name].metadata if isinstance(item, Flag)), None)


def option_names(model: type[BaseModel], name: str) -> tuple[str, ...]:
    """The names of a field's option, the long one first: ("--rank", "-r")."""
    flag = flag_of(model, name)
    plain = "--" + name.replace("_", "-")
    if flag and flag.names:
        return flag.names
    return (f"{plain}/--no-{plain[2:]}",) if model.model_fields[name].annotation is bool else (plain,)


def schema_of(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Each field's JSON schema by its name: type, choices, bounds, default, description."""
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return properties
