"""The two bases: `Recipe` enters the fingerprint with every field; `Options` never does."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Recipe(BaseModel):
    """Frozen; unknown fields are an error. Every field is hashed, defaults included, so `auto` stays `auto`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(BaseModel):
    """Frozen; unknown fields are an error. Nothing in here may change the result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
