"""Which torch gets the argument that Unsloth looks for; what is asked of the kernel arrives there unchanged."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from twinctl.engine.attention import patch_varlen_gqa


def of_torch_2_11(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *,
    return_aux: Any = None, scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
) -> Any:  # fmt: skip
    return (query, key, value, cu_seq_q, cu_seq_k, max_q, max_k), scale, window_size


def of_torch_2_10(query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int) -> Any:
    raise AssertionError("never asked")


def test_torch_2_11_is_asked_with_grouped_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", of_torch_2_11)
    patch_varlen_gqa()
    given = varlen.varlen_attn
    assert {"enable_gqa", "window_size"} <= inspect.signature(given).parameters.keys()
    asked = given(*range(7), scale=0.5, window_size=(-1, 0), enable_gqa=True)  # type: ignore[arg-type]
    assert asked == (tuple(range(7)), 0.5, (-1, 0))
    patch_varlen_gqa()
    assert varlen.varlen_attn is given


@pytest.mark.parametrize("own", ["2.10", "2.12 and later"])
def test_other_versions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    from torch.nn.attention import varlen

    if own == "2.10":
        monkeypatch.setattr(varlen, "varlen_attn", of_torch_2_10)
    elif "enable_gqa" not in inspect.signature(varlen.varlen_attn).parameters:
        pytest.skip("this torch is 2.11")
    before = varlen.varlen_attn
    patch_varlen_gqa()
    assert varlen.varlen_attn is before
