"""A text's ids are those that transformers gives it from the same folder, whatever it makes of the folder's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.families import FAMILIES, NASTY, save_tokenizer
from twinctl.data import tokenizer, transformers_tokenizer
from twinctl.data.tokenizer import TextTokenizer, special_pattern
from twinctl.errors import ConfigError, UpstreamError

BOS, EOS = "<|begin_of_text|>", "<|eot_id|>"
PLAIN = [name for name in FAMILIES if name not in ("r1", "command")]


def _edit(path: Path, **changes: Any) -> None:
    stored = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {name: value for name, value in stored.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.fixture
def llama3_folder(tmp_path: Path) -> Path:
    """A Llama 3's, to be changed."""
    return save_tokenizer("llama3", tmp_path / "model")


@pytest.fixture
def asked_folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that transformers was asked about; it answers with the file as it is."""
    found: list[Path] = []

    def ask(folder: Path) -> Any:
        found.append(folder)
        named = {"eos_token": EOS, "bos_token": BOS}
        return {"tokenizer": (folder / "tokenizer.json").read_text(encoding="utf-8"), "named": named}

    monkeypatch.setattr(tokenizer, "_ask", ask)
    return found


@pytest.mark.parametrize("family", PLAIN)
def test_any_text_s_ids_are_those_of_transformers(family: str, load: Callable[[str], Any]) -> None:
    made = load(family)
    begin, end = made.theirs.bos_token or "", made.theirs.eos_token
    texts = [text for nasty in NASTY for text in (nasty, f"{begin}{nasty}{end}{nasty}{end}")] + [""]
    assert made.ours.encode(texts) == made.theirs(texts, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", PLAIN)
def test_the_marks_are_those_of_transformers(family: str, load: Callable[[str], Any]) -> None:
    ours, theirs = load(family).ours, load(family).theirs
    assert (ours.eos, ours.eos_id, ours.pad_id) == (theirs.eos_token, theirs.eos_token_id, theirs.pad_token_id)
    assert ours.adds_bos == (theirs("a")["input_ids"][0] == theirs.bos_token_id)
    assert ours.bos == (theirs.bos_token if ours.adds_bos else "")
    assert ours.special_ids >= set(theirs.all_special_ids)
    assert dict(ours.named) == theirs.special_tokens_map
    assert ours.vocabulary == 896


@pytest.mark.parametrize("family", ["r1", "command"])
def test_where_transformers_would_spoil_the_texts_the_file_counts_as_unsloth_has_it(
    family: str, load: Callable[[str], Any]
) -> None:
    from tokenizers import Tokenizer

    made = load(family)
    stored = Tokenizer.from_file(str(made.folder / "tokenizer.json"))
    texts = [*NASTY, *(made.ours.eos + text for text in NASTY)]
    assert made.ours.encode(texts) == [stored.encode(text, add_special_tokens=False).ids for text in texts]
    assert made.theirs(texts, add_special_tokens=False)["input_ids"] != made.ours.encode(texts)


def test_llama_2_s_file_is_not_what_transformers_loads(load: Callable[[str], Any]) -> None:
    from tokenizers import Tokenizer

    made = load("llama2")
    stored = Tokenizer.from_file(str(made.folder / "tokenizer.json"))
    text = "<s>a b</s>c"
    assert made.ours.encode([text])[0] != stored.encode(text, add_special_tokens=False).ids


def test_transformers_is_asked_in_a_process_of_its_own(load: Callable[[str], Any]) -> None:
    made = load("qwen2")
    loaded = TextTokenizer.load(made.folder)
    assert loaded.backend.to_str() == made.ours.backend.to_str()
    assert (loaded.named, loaded.eos_id) == (made.ours.named, made.ours.eos_id)


def test_what_transformers_cannot_load_is_refused_with_its_words(llama3_folder: Path) -> None:
    _edit(llama3_folder / "config.json", model_type="qwen2")
    _edit(llama3_folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer", added_tokens_decoder={"1": 2})
    with pytest.raises(ConfigError, match=r"transformers cannot load the tokenizer in .*TypeError") as caught:
        TextTokenizer.load(llama3_folder)
    assert "--model" in caught.value.hint


def test_a_process_that_ends_without_a_word_is_reported(llama3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _edit(llama3_folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ConfigError, match="printed no reason"):
        TextTokenizer.load(llama3_folder)


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend", ...])
def test_llama_3_s_file_is_taken_as_it_is(llama3_folder: Path, asked_folders: list[Path], name: Any) -> None:
    _edit(llama3_folder / "tokenizer_config.json", tokenizer_class=name)
    assert TextTokenizer.load(llama3_folder).named == {"bos_token": BOS, "eos_token": EOS}
    assert asked_folders == []


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"model_type": "mistral"}),
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["a", None]}}),
        ("tokenizer_config.json", {"pad_token": "<new>"}),
        ("tokenizer_config.json", {"additional_special_tokens": ["<new>"]}),
        ("tokenizer_config.json", {"extra_special_tokens": {"image_token": "<new>"}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"461": {"content": "<new>", "special": True}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9999": {"content": EOS, "special": True}}}),
    ],
)
def test_where_transformers_may_change_something_it_is_asked(
    llama3_folder: Path, asked_folders: list[Path], file: str, changes: dict[str, Any]
) -> None:
    _edit(llama3_folder / file, **changes)
    TextTokenizer.load(llama3_folder)
    assert asked_folders == [llama3_folder]


@pytest.mark.parametrize("listed", [True, False])
def test_a_special_tokens_map_counts_where_no_tokens_are_listed(
    llama3_folder: Path, asked_folders: list[Path], listed: bool
) -> None:
    (llama3_folder / "special_tokens_map.json").write_text("{}")
    if not listed:
        _edit(llama3_folder / "tokenizer_config.json", added_tokens_decoder=...)
    TextTokenizer.load(llama3_folder)
    assert asked_folders == ([] if listed else [llama3_folder])


def test_padding_and_truncation_that_the_file_asks_for_are_off(llama3_folder: Path) -> None:
    from tokenizers import Tokenizer

    stored = Tokenizer.from_file(str(llama3_folder / "tokenizer.json"))
    stored.enable_truncation(4)
    stored.enable_padding(length=4)
    stored.save(str(llama3_folder / "tokenizer.json"))
    short, long = TextTokenizer.load(llama3_folder).encode(["a", "one two three four five six"])
    assert len(short) == 1
    assert len(long) > 4


def test_encodings_have_the_same_ids_and_say_where_they_come_from(load: Callable[[str], Any]) -> None:
    for family in ("llama3", "qwen2", "llama2", "gemma2"):
        ours = load(family).ours
        texts = [f"{ours.bos}{text}{ours.eos}" for text in NASTY]
        encodings = ours.encode_with_offsets(texts)
        assert [encoding.ids for encoding in encodings] == ours.encode(texts)
        for text, encoding in zip(texts, encodings, strict=True):
            start, end = encoding.offsets[-1]
            assert text[start:end] == ours.eos
            assert max(stop for _, stop in encoding.offsets) == len(text)


def test_lengths_and_texts(load: Callable[[str], Any]) -> None:
    ours = load("llama3").ours
    texts = [f"{BOS}What?{EOS}", "naïve 東京 🙂\r\n  x", ""]
    assert ours.decode(ours.encode(texts)) == texts
    assert [ours.length(text) for text in texts] == [len(ids) for ids in ours.encode(texts)]


@pytest.mark.parametrize(
    "config",
    [
        {"eos_token": {"content": EOS, "lstrip": False, "special": True}, "bos_token": {"content": BOS}},
        {"eos_token": EOS, "bos_token": BOS},
    ],
    ids=["as a dict", "as a text"],
)
def test_the_tokens_may_be_written_in_two_ways(llama3_folder: Path, config: dict[str, Any]) -> None:
    _edit(llama3_folder / "tokenizer_config.json", **config)
    loaded = TextTokenizer.load(llama3_folder)
    assert (loaded.eos, loaded.bos, loaded.adds_bos) == (EOS, BOS, True)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("sees", [False, True])
def test_eos_may_be_named_by_the_model_s_config(llama3_folder: Path, several: bool, sees: bool) -> None:
    ids = TextTokenizer.load(llama3_folder).specials
    named: dict[str, Any] = {"eos_token_id": [ids[EOS], ids[BOS]] if several else ids[EOS], "vocab_size": 512}
    absent = dict.fromkeys(named, ...)
    _edit(llama3_folder / "tokenizer_config.json", eos_token=None)
    _edit(llama3_folder / "config.json", **({**absent, "text_config": named} if sees else named))
    loaded = TextTokenizer.load(llama3_folder)
    assert (loaded.eos, loaded.eos_id, loaded.vocabulary) == (EOS, ids[EOS], 512)


def test_without_a_config_the_vocabulary_is_the_tokenizer_s(llama3_folder: Path) -> None:
    (llama3_folder / "config.json").unlink()
    loaded = TextTokenizer.load(llama3_folder)
    assert loaded.vocabulary == loaded.backend.get_vocab_size()


@pytest.mark.parametrize("eos", [..., None, "", "<|not-there|>"])
def test_a_tokenizer_without_eos_is_refused(llama3_folder: Path, eos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_ask", transformers_tokenizer.load)
    _edit(llama3_folder / "tokenizer_config.json", eos_token=eos)
    _edit(llama3_folder / "config.json", eos_token_id=...)
    with pytest.raises(ConfigError, match="names no EOS token") as caught:
        TextTokenizer.load(llama3_folder)
    assert "eos_token" in caught.value.hint


def test_gemma_s_bos_is_put_before_a_text_also_where_its_tokenizer_forgets_it(load: Callable[[str], Any]) -> None:
    from tokenizers import Tokenizer, processors

    from twinctl.data.tokenizer import _adds_bos

    backend = Tokenizer.from_str(load("gemma2").ours.backend.to_str())
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    assert _adds_bos(backend, "<bos>", {"model_type": "gemma4_text"})
    assert not _adds_bos(backend, "<bos>", {"model_type": "llama"})
    assert not _adds_bos(backend, "", {"model_type": "gemma4_text"})


def test_special_tokens_are_found_wherever_they_stand(load: Callable[[str], Any]) -> None:
    ours = load("gemma2").ours
    pattern = special_pattern(ours)
    assert pattern.findall("a<bos>b</bos><start_of_turn>") == ["<bos>", "<start_of_turn>"]
    assert all(pattern.fullmatch(text) for text in ours.specials)
    assert pattern.search("<table> and \n\n are special to nobody") is None


def test_the_longest_special_token_is_found() -> None:
    made = TextTokenizer(None, "", 0, "", False, 0, specials={"<|a": 0, "<|a|>": 1, "(.": 2})
    assert special_pattern(made).findall("<|a|> <|a (.") == ["<|a|>", "<|a", "(."]
    assert special_pattern(TextTokenizer(None, "", 0, "", False, 0)).search("anything") is None


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json") as caught:
        TextTokenizer.load(tmp_path)
    assert "--model" in caught.value.hint


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_named(llama3_folder: Path, name: str) -> None:
    (llama3_folder / name).write_text('{"cut')
    with pytest.raises(UpstreamError, match=name.replace(".", r"\.")):
        TextTokenizer.load(llama3_folder)


def test_what_loses_nothing_by_its_build_is_known(load: Callable[[str], Any]) -> None:
    """Byte-level without a normalizer does; what normalises, prefixes a space or has tokens beyond bytes may not."""
    found = {family for family in PLAIN if load(family).ours.is_lossless}
    assert {"llama3", "nemo"} <= found
    assert not found & {"qwen2", "qwen3", "gemma2", "gemma3", "llama2"}


@pytest.mark.parametrize("family", PLAIN)
def test_who_is_said_to_lose_nothing_gives_every_text_back(load: Callable[[str], Any], family: str) -> None:
    ours = load(family).ours
    letters = ["".join(map(chr, range(start, start + 64))) for start in range(1, 0xD000, 997)]
    texts = [*NASTY, *letters, "  two  spaces ", "\n\n\n", "e\u0301 \u00e9", "\ufeff"]
    assert not ours.is_lossless or ours.decode(ours.encode(texts)) == texts
