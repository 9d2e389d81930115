"""A sample's ids are those of the tokenizer that Unsloth loads to train and to chat, for each family of models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.families import FAMILIES, NASTY, ONLY_ON_A_GPU, save_tokenizer
from twinctl.data.template import Message, load_template
from twinctl.data.tokenizer import TextTokenizer

# What Unsloth's two backends make of the folder: the CPU's, with a model of one layer, and the function with which the
# GPU's loads its tokenizer.
LOAD = """
import json, sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
from tests.support.families import ONLY_ON_A_GPU, save_model
from twinctl.engine.unsloth_import import into_log, start_unsloth
root = Path({root!r})
asked = json.loads((root / "asked.json").read_text())
found = {{}}
with into_log(root / "log.txt"):
    unsloth = start_unsloth("cpu")
    from twinctl.engine.models import load_model
    from unsloth.tokenizer_utils import load_correct_tokenizer
    for family, samples in asked.items():
        folder = root / family
        tokenizers = [load_correct_tokenizer(str(folder), model_max_length=512)]
        if family not in ONLY_ON_A_GPU:
            save_model(family, folder)
            tokenizers.append(load_model(unsloth, folder, max_length=512)[1])
        found[family] = []
        for tokenizer in tokenizers:
            ids = []
            for template, talk in samples:
                tokenizer.chat_template = template
                ids.append(tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"])
            found[family].append(ids)
print(json.dumps(found))
"""
ALSO = {"qwen2": "chatml", "qwen3": "chatml", "smollm": "chatml", "llama3": "llama3"}
TALKS: list[list[Message]] = [
    [{"role": "user", "content": text}, {"role": "assistant", "content": text[::-1] + text}] for text in NASTY
]
TALKS.append([message for talk in TALKS for message in talk])


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By family: [template, talk, our ids, the ids of what the template writes behind them]."""
    root = tmp_path_factory.mktemp("families")
    found: dict[str, Any] = {}
    for family, made in FAMILIES.items():
        folder = save_tokenizer(family, root / family)
        ours = TextTokenizer.load(folder)
        names = ["alpaca", *([ALSO[family]] if family in ALSO else []), *(["model"] if made.template else [])]
        templates = [load_template(name, folder, ours) for name in names]
        found[family] = [
            (template.text, talk, *ours.encode([template.render(talk), template.tail]))
            for template in templates
            for talk in TALKS
        ]
    return {"root": root, "found": found}


@pytest.fixture(scope="module")
def theirs(samples: dict[str, Any], in_process: Callable[..., Any]) -> Any:
    """By family: the ids of the same talks, of each of Unsloth's backends."""
    root: Path = samples["root"]
    asked = {family: [each[:2] for each in rows] for family, rows in samples["found"].items()}
    (root / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    checkout = Path(__file__).parents[2]
    return in_process(LOAD.format(checkout=str(checkout), root=str(root)), CUDA_VISIBLE_DEVICES="")


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_that_unsloth_trains_with(family: str, samples: dict[str, Any], theirs: Any) -> None:
    ours = [ids + tail for _, _, ids, tail in samples["found"][family]]
    assert len(theirs[family]) == (1 if family in ONLY_ON_A_GPU else 2)
    for backend in theirs[family]:
        assert backend == ours
