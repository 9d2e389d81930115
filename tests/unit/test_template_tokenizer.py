"""A sample's text and ids are those that transformers makes from the same folder and the same Jinja text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinctl.data.rows import messages_of
from twinctl.data.template import Message, render, template_text
from twinctl.data.tokenizer import TextTokenizer
from twinctl.errors import ConfigError, UpstreamError

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PLAIN = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWhat is fog?\n\n### Response:\nWeather that stayed."
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nSum up.\n\n### Input:\nA long tale.\n\n### Response:\nShort."
)
USER: Message = {"role": "user", "content": "What is fog?"}
ANSWER: Message = {"role": "assistant", "content": "Weather that stayed."}
TALKS: dict[str, list[Message]] = {
    "sample": [USER, ANSWER],
    "prompt": [USER],
    "two turns": [USER, ANSWER, {"role": "user", "content": "And mist?"}],
    "system": [{"role": "system", "content": "Be brief."}, USER, ANSWER],
    "input": [{"role": "user", "content": "Sum up.\n\n### Input:\nA long tale."}, ANSWER],
    "white space": [{"role": "user", "content": "  a\n\n"}, {"role": "assistant", "content": "\n\tb \n"}],
    "markup": [
        {"role": "user", "content": "{{ x }} {% y %} <b>&amp;</b>"},
        {"role": "assistant", "content": "東京 é 🙂"},
    ],
    "special tokens": [{"role": "user", "content": f"say {EOS} and {BOS}"}, ANSWER],
}
TEXTS = ["", " ", "a", "I've 12345 apples,\n\n\tthey'll say.", "naïve 東京 🙂\r\n  x", f"{BOS}What?{EOS}", "  \n \n"]


def _save(folder: Path, *, adds_bos: bool = True, config: dict[str, Any] | None = None) -> Path:
    """A tokenizer like Llama 3's: byte-level BPE, Llama 3's way to split, special tokens, BOS put before a text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[BOS, EOS, PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([PLAIN, WITH_INPUT] * 4, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    own = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    (folder / "tokenizer_config.json").write_text(json.dumps(own if config is None else config))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """By whether the tokenizer puts a BOS before a text."""
    root = tmp_path_factory.mktemp("tokenizers")
    return {adds_bos: _save(root / str(adds_bos), adds_bos=adds_bos) for adds_bos in (True, False)}


@pytest.fixture(scope="module")
def theirs(folders: dict[bool, Path]) -> dict[bool, Any]:
    """The same tokenizers as transformers loads them."""
    from transformers import AutoTokenizer

    return {adds_bos: AutoTokenizer.from_pretrained(folder) for adds_bos, folder in folders.items()}


@pytest.mark.parametrize(("adds_bos", "bos"), [(True, BOS), (False, "")])
def test_a_sample_is_the_book_s_bytes_and_eos(adds_bos: bool, bos: str) -> None:
    template = template_text("alpaca", adds_bos=adds_bos)
    talk = messages_of({"instruction": "What is fog?", "output": "Weather that stayed."}, {}, "row")
    assert isinstance(talk, list)
    assert render(template, talk, bos=bos, eos=EOS) == bos + PLAIN + EOS


def test_a_row_with_an_input_has_its_own_bytes() -> None:
    template = template_text("alpaca", adds_bos=True)
    talk = messages_of({"instruction": "Sum up.", "input": "A long tale.", "output": "Short."}, {}, "row")
    assert isinstance(talk, list)
    assert render(template, talk, bos=BOS, eos=EOS) == BOS + WITH_INPUT + EOS


def test_without_a_bos_of_its_own_the_template_does_not_name_one() -> None:
    assert "bos_token" not in template_text("alpaca", adds_bos=False)


@pytest.mark.parametrize("talk", [name for name, talk in TALKS.items() if talk[-1]["role"] == "assistant"])
def test_a_prompt_is_the_beginning_of_its_sample_byte_for_byte(talk: str) -> None:
    """Nothing stands between the prompt and the answer, so chat asks exactly as training did."""
    template, messages = template_text("alpaca", adds_bos=True), TALKS[talk]
    prompt = render(template, messages[:-1], bos=BOS, eos=EOS)
    assert render(template, messages, bos=BOS, eos=EOS) == prompt + messages[-1]["content"] + EOS


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("talk", TALKS)
def test_the_text_is_what_transformers_renders(theirs: dict[bool, Any], talk: str, adds_bos: bool) -> None:
    template = template_text("alpaca", adds_bos=adds_bos)
    rendered = render(template, TALKS[talk], bos=BOS if adds_bos else "", eos=EOS)
    for generation in (False, True):
        expected = theirs[adds_bos].apply_chat_template(
            TALKS[talk], chat_template=template, tokenize=False, add_generation_prompt=generation
        )
        assert rendered == expected


def test_a_template_with_blocks_on_lines_of_their_own_is_rendered_alike(theirs: dict[bool, Any]) -> None:
    template = "{% for turn in messages %}\n  {% if turn.content %}\n{{ turn.content }}\n  {% endif %}\n{% endfor %}\n"
    expected = theirs[True].apply_chat_template(TALKS["sample"], chat_template=template, tokenize=False)
    assert render(template, TALKS["sample"], bos=BOS, eos=EOS) == expected


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("talk", TALKS)
def test_a_sample_s_ids_are_those_of_transformers(
    folders: dict[bool, Path], theirs: dict[bool, Any], talk: str, adds_bos: bool
) -> None:
    ours, template = TextTokenizer.load(folders[adds_bos]), template_text("alpaca", adds_bos=adds_bos)
    (encoding,) = ours.encode([render(template, TALKS[talk], bos=ours.bos, eos=ours.eos)])
    expected = theirs[adds_bos].apply_chat_template(TALKS[talk], chat_template=template, return_dict=True)["input_ids"]
    assert encoding.ids == expected
    assert encoding.ids.count(ours.backend.token_to_id(BOS)) == adds_bos + (talk == "special tokens")


@pytest.mark.parametrize("adds_bos", [True, False])
def test_any_text_s_ids_are_those_of_transformers(
    folders: dict[bool, Path], theirs: dict[bool, Any], adds_bos: bool
) -> None:
    ours = TextTokenizer.load(folders[adds_bos]).encode(TEXTS)
    assert [encoding.ids for encoding in ours] == theirs[adds_bos](TEXTS, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_marks_are_those_of_transformers(
    folders: dict[bool, Path], theirs: dict[bool, Any], adds_bos: bool
) -> None:
    ours, their = TextTokenizer.load(folders[adds_bos]), theirs[adds_bos]
    assert (ours.eos, ours.eos_id, ours.vocabulary) == (EOS, their.eos_token_id, len(their))
    assert ours.adds_bos == (their("a")["input_ids"][0] == their.bos_token_id) == adds_bos


def test_padding_and_truncation_that_the_file_asks_for_are_off(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = _save(tmp_path / "model")
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stored.enable_truncation(4)
    stored.enable_padding(length=4)
    stored.save(str(folder / "tokenizer.json"))
    short, long = TextTokenizer.load(folder).encode(["a", "one two three four five six"])
    assert len(short.ids) == 1
    assert len(long.ids) > 4


@pytest.mark.parametrize(
    "config",
    [
        {"eos_token": {"content": EOS, "lstrip": False, "special": True}, "bos_token": {"content": BOS}},
        {"eos_token": EOS, "bos_token": BOS},
    ],
    ids=["as a dict", "as a text"],
)
def test_the_tokens_may_be_written_in_two_ways(tmp_path: Path, config: dict[str, Any]) -> None:
    tokenizer = TextTokenizer.load(_save(tmp_path / "model", config=config))
    assert (tokenizer.eos, tokenizer.bos, tokenizer.adds_bos) == (EOS, BOS, True)


@pytest.mark.parametrize("identifier", [1, [1, 2]])
def test_eos_may_be_named_by_the_model_s_config(tmp_path: Path, identifier: Any) -> None:
    folder = _save(tmp_path / "model", config={})
    (folder / "config.json").write_text(json.dumps({"eos_token_id": identifier, "vocab_size": 512}))
    tokenizer = TextTokenizer.load(folder)
    assert (tokenizer.eos, tokenizer.eos_id, tokenizer.vocabulary) == (EOS, 1, 512)


@pytest.mark.parametrize("config", [{}, {"eos_token": None}, {"eos_token": ""}, {"eos_token": "<|not-there|>"}])
def test_a_tokenizer_without_eos_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="names no EOS token") as caught:
        TextTokenizer.load(_save(tmp_path / "model", config=config))
    assert "eos_token" in caught.value.hint


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json") as caught:
        TextTokenizer.load(tmp_path)
    assert "--model" in caught.value.hint


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = _save(tmp_path / "model")
    (folder / name).write_text('{"cut')
    with pytest.raises(UpstreamError, match=name.replace(".", r"\.")):
        TextTokenizer.load(folder)
