"""The model families' tokenizers, as twinctl and as transformers load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.families import save_tokenizer
from twinctl.data import tokenizer, transformers_tokenizer
from twinctl.data.tokenizer import TextTokenizer


@dataclass
class Loaded:
    folder: Path
    ours: TextTokenizer
    theirs: Any


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    """A family by its name; each is made and loaded once."""
    root = tmp_path_factory.mktemp("families")

    @cache
    def loaded(family: str) -> Loaded:
        from transformers import AutoTokenizer

        folder = save_tokenizer(family, root / family.replace(" ", "-"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokenizer, "_ask", transformers_tokenizer.load)  # in this process: transformers starts once
            ours = TextTokenizer.load(folder)
        return Loaded(folder, ours, AutoTokenizer.from_pretrained(folder, legacy=False))

    return loaded
