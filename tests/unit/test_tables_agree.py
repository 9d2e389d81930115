"""A template or a quantisation is named in several tables: each of them has them all."""

from __future__ import annotations

from importlib.resources import files
from typing import get_args

from tests.support.chats import CHATS
from twinctl.config.export import QUANTS as OFFERED
from twinctl.config.export import Precision
from twinctl.config.prepare import PrepareRecipe
from twinctl.data.template import MARKERS, MODEL, packaged
from twinctl.gguf.quant_types import QUANTS
from twinctl.verification.limits import LIMITS, MERGED, finer


def test_every_template_that_is_offered_is_packaged_and_has_its_markers() -> None:
    offered = set(get_args(PrepareRecipe.model_fields["template"].annotation))
    folder = files("twinctl.data") / "templates"
    assert offered == {*MARKERS, MODEL}
    assert {path.name for path in folder.iterdir()} == {f"{name}.jinja" for name in MARKERS}


def test_every_template_writes_the_markers_that_it_asks_of_a_tokenizer() -> None:
    for name, markers in MARKERS.items():
        assert all(marker in packaged(name) for marker in markers), name


def test_every_template_is_compared_with_what_ollama_writes() -> None:
    assert {*MARKERS, *(f"{name} without BOS" for name in MARKERS)} <= CHATS.keys()


def test_every_quantisation_that_is_offered_has_its_types_and_its_limit() -> None:
    assert set(OFFERED) == set(QUANTS)
    assert set(LIMITS) == {*OFFERED, *get_args(Precision)}
    assert MERGED in get_args(Precision)


def test_what_is_rounded_has_a_finer_kind_to_try_and_a_wider_limit() -> None:
    rounded = {"4bit", *(name for name, quant in QUANTS.items() if quant.is_quantised)}
    for kind in LIMITS:
        words = finer(kind).split()
        assert bool(words) == (kind in rounded), kind
        if words:
            assert words[-1] in LIMITS and LIMITS[words[-1]].kl < LIMITS[kind].kl, kind
