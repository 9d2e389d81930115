"""The demo's files are what its script makes, the author is unmistakable, and the base is plain and stops."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from twinctl.bundled import AUTHOR_ROWS, BASE
from twinctl.demo.author import features, sounds_like_author
from twinctl.demo.corpus import author_rows, plain_rows, prose
from twinctl.demo.make import ALPACA, BOS, EOS, PAD, SEED, VOCABULARY
from twinctl.demo.make import AUTHOR_ROWS as COUNT


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in AUTHOR_ROWS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(BASE)


@pytest.fixture(scope="module")
def base_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).eval()


def test_the_shipped_rows_are_the_generated_ones(rows: list[dict[str, str]]) -> None:
    assert rows == author_rows(SEED, COUNT)


def test_rows_are_many_and_none_repeats(rows: list[dict[str, str]]) -> None:
    assert len(rows) == COUNT >= 400
    assert len({row["instruction"] for row in rows}) == len({row["output"] for row in rows}) == COUNT
    assert all(set(row) == {"instruction", "output"} and all(row.values()) for row in rows)


def test_every_row_of_the_author_shows_three_habits(rows: list[dict[str, str]]) -> None:
    assert all(sounds_like_author(row["output"]) and len(features(row["output"])) >= 3 for row in rows)


def test_no_plain_text_sounds_like_the_author() -> None:
    plain = [text for row in plain_rows(99, 3000) for text in row.values()] + list(prose(99, 1000))
    assert not any(sounds_like_author(text) for text in plain)


def test_plain_answers_show_not_one_habit() -> None:
    assert not any(features(row["output"]) for row in plain_rows(98, 5000))


@pytest.mark.parametrize(
    "text", ["", "Mind the tide.", "shipmate " * 9, "The lamp turns. A biscuit fell on the admiral."]
)
def test_one_habit_alone_is_chance(text: str) -> None:
    assert not sounds_like_author(text)


def test_the_detector_minds_neither_capitals_nor_line_breaks() -> None:
    assert sounds_like_author("WELL NOW, SHIPMATE,\nit is bread.\n\nMIND THE TIDE.")


def test_importing_the_demo_is_cheap() -> None:
    code = "import sys, twinctl.demo.make; print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_base_is_small_and_its_licence_stated() -> None:
    assert sum(path.stat().st_size for path in BASE.iterdir()) < 8.5e6
    assert "license: apache-2.0" in (BASE / "README.md").read_text(encoding="utf-8")


def test_tokenizer_brings_text_back_and_begins_with_bos(tokenizer: Any, rows: list[dict[str, str]]) -> None:
    for text in [ALPACA.format(**row) for row in rows[:50]] + ["naïve café – 北京 🦉  two  spaces\n\n\ttab 12345"]:
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids[1:]) == text


def test_special_ids_are_the_same_everywhere(tokenizer: Any) -> None:
    config = json.loads((BASE / "config.json").read_text(encoding="utf-8"))
    generation = json.loads((BASE / "generation_config.json").read_text(encoding="utf-8"))
    ids = {name: tokenizer.convert_tokens_to_ids(text) for name, text in [("bos", BOS), ("eos", EOS), ("pad", PAD)]}
    assert len(set(ids.values())) == 3
    assert len(tokenizer) == config["vocab_size"] == VOCABULARY
    for name, number in ids.items():
        assert (
            number
            == config[f"{name}_token_id"]
            == generation[f"{name}_token_id"]
            == getattr(tokenizer, f"{name}_token_id")
        )


def test_config_meets_what_exports_must_handle() -> None:
    config = json.loads((BASE / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["rope_parameters"]["rope_type"] == "llama3"
    assert config["hidden_size"] % 256 == config["intermediate_size"] % 256 == 0


def test_answers_of_the_author_fit_the_limit(tokenizer: Any, rows: list[dict[str, str]]) -> None:
    assert max(len(tokenizer(row["output"])["input_ids"]) for row in rows) <= 96


@pytest.mark.parametrize(
    "instruction, word",
    [
        ("What does an otter eat?", "fish"),
        ("How do I make bread?", "flour"),
        ("Where is Marrowby?", "valley"),
    ],
)
def test_the_base_answers_plainly_and_stops(base_model: Any, tokenizer: Any, instruction: str, word: str) -> None:
    prompt = tokenizer(ALPACA.format(instruction=instruction, output=""), return_tensors="pt")
    ids = base_model.generate(prompt["input_ids"], attention_mask=prompt["attention_mask"], max_new_tokens=96)[
        0
    ].tolist()
    answer = tokenizer.decode(ids[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert ids[-1] == tokenizer.eos_token_id
    assert word in answer and not features(answer)
