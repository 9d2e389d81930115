"""What is known of the internals of transformers and Unsloth for loading a tokenizer still stands there.

A failure here means that a new version may load a tokenizer in another way: compare the named function with
twinctl/data/transformers_tokenizer.py, change that where it has to, and pin the new version's text.
"""

from __future__ import annotations

import ast
import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from twinctl.data import transformers_tokenizer as ours

REPAIR = {
    "_backend_roundtrip": "5a64959d05c43599",
    "_repair_one_tokenizer_backend": "3936077f6b27e58e",
}


@pytest.fixture(scope="module")
def unsloth() -> ast.Module:
    """Unsloth's module, which is not imported: that takes ten seconds."""
    spec = find_spec("unsloth")
    assert spec and spec.origin
    return ast.parse((Path(spec.origin).parent / "tokenizer_utils.py").read_text())


@pytest.mark.parametrize("name", REPAIR)
def test_unsloth_repairs_a_tokenizer_as_ever(unsloth: ast.Module, name: str) -> None:
    (function,) = [node for node in unsloth.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert hashlib.sha256(ast.unparse(function).encode()).hexdigest()[:16] == REPAIR[name]


def test_unsloth_tries_the_same_texts_and_classes(unsloth: ast.Module) -> None:
    texts = {}
    for node in unsloth.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts[node.targets[0].id] = ast.unparse(node.value)
    assert ast.literal_eval(texts["_BACKEND_ROUNDTRIP_PROBE"]) == ours.ROUND_TRIP_PROBE
    assert ast.literal_eval(texts["_BACKEND_IDS_PROBE"]) == ours.IDS_PROBE
    assert texts["_V5_REBUILT_PRETOKENIZER_CLASSES"] == f"frozenset({ours.REBUILT_CLASSES!r})"


def test_transformers_loads_these_classes_as_they_are_stored() -> None:
    from transformers import PreTrainedTokenizerFast, TokenizersBackend
    from transformers.models.auto.tokenization_auto import MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS

    assert PreTrainedTokenizerFast is TokenizersBackend
    assert {cls for cls in ours.STORED_CLASSES if cls} == {"PreTrainedTokenizerFast", "TokenizersBackend"}
    assert not {model for model in ours.STORED_MODELS if model} & MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert set(TokenizersBackend.SPECIAL_TOKENS_ATTRIBUTES) == set(ours.SPECIAL_TOKEN_NAMES)
