"""What the engine uses of libraries that do not promise it is still there; torch's kernel for packed rows gets what it
is asked for.
"""

from __future__ import annotations

import inspect
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from twinctl.engine.private_apis import (
    DECODING_CACHE,
    GENERATION_MODES,
    INNER_TOKENIZER,
    WEIGHT_CAST,
    free_decoding_cache,
    patch_varlen_gqa,
)


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


@pytest.mark.heavy
def test_the_trainer_loads_a_checkpoint_by_its_folder_alone() -> None:
    """TRL's trainer, on which Unsloth's is built, has no way of its own."""
    from transformers import Trainer
    from trl import SFTTrainer

    parameters = list(inspect.signature(Trainer._load_from_checkpoint).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["self", "resume_from_checkpoint"]
    assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters[2:])
    assert SFTTrainer._load_from_checkpoint is Trainer._load_from_checkpoint


@pytest.fixture(scope="module")
def unsloth_source() -> str:
    """The text of Unsloth's modules for models and kernels, which are not imported: that takes ten seconds."""
    spec = find_spec("unsloth")
    assert spec and spec.origin
    return "\n".join(path.read_text() for path in sorted(Path(spec.origin).parent.glob("[mk]*/*.py")))


@pytest.mark.parametrize("name", [*DECODING_CACHE, WEIGHT_CAST, INNER_TOKENIZER, *GENERATION_MODES[2:]])
def test_unsloth_still_sets_the_attributes_that_are_put_back(unsloth_source: str, name: str) -> None:
    assert re.search(rf"\.{name}\b\s*=[^=]", unsloth_source), name


def test_the_decoding_cache_is_removed_where_it_is_and_nothing_else() -> None:
    from torch import nn

    attention, other = nn.Module(), nn.Module()
    for name in DECODING_CACHE:
        setattr(attention, name, 1)
    other.attention = 1  # type: ignore[assignment]
    free_decoding_cache(nn.ModuleList([attention, other]))
    assert not vars(attention).keys() & set(DECODING_CACHE)
    assert vars(other)["attention"] == 1
