"""A phase's identity: the sha256 of canonical JSON.

What must stay true: equal payloads give equal fingerprints on every machine and Python; a type that JSON does not have
raises instead of being turned into text; the order of keys never matters.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

ALGORITHM = 1


def canonical(value: Any) -> bytes:
    """The one JSON text of a value of dicts with string keys, lists, tuples, strings, numbers, booleans and None.

    Raises TypeError for any other type and ValueError for NaN and infinities.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def fingerprint(payload: Mapping[str, Any]) -> str:
    """The sha256 of the payload's canonical JSON: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(payload)).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in a fingerprint")
        # 3 and 3.0 are one value: TOML and the command line write them differently.
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a fingerprint's keys are strings")
        return {key: _plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} has no canonical form")


def differences(before: Any, after: Any, name: str = "") -> list[str]:
    """Field by field, what changed: ["train.rank 16 → 32", …]; empty when the canonical forms are equal."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*before, *after])
        return [
            line
            for key in keys
            for line in differences(before.get(key), after.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if canonical(before) == canonical(after) else [f"{name} {_short(before)} → {_short(after)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    is_digest = isinstance(value, str) and len(value) == 64
    return text[:8] if is_digest else (text if len(text) <= 60 else text[:57] + "…")
