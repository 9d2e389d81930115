"""llama.cpp makes the token ids that the Hugging Face tokenizer makes; one not known to do so is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType

from tests.support import families
from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.vocabulary import read_vocabulary
from twinctl.gguf.writer import write_gguf

ROWS = 640
QWEN_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PROBES = [
    "",
    " ",
    "The quick brown fox isn't lazy; they'LL say I'VE been there",
    "1 12 123 1234 12345 1234567 3.14159 ٣٤٥ ½ Ⅷ",
    "a  b   c    d \t\te\n\n\nf \n g\r\n\r\n  h   ",
    "   leading and trailing   ",
    "def main(args):\n    return [x ** 2 for x in range(100)]  # it's\n\t\tpass",
    "naïve café Ünïcödé Москва 東京タワー 한국어 العربية עברית हिन्दी ไทย",
    "🙂👩‍👩‍👧‍👦🇨🇭 e\u0301 ﬁ \u00a0nbsp\u200bzwsp\u2003em \ufeffbom",
    "<|begin_of_text|>in<|end_of_text|> of <|pad|><note> <note>x <|not_a_token|>",
    "https://example.org/?q=a+b&c=%20#frag 'tis ''quoted'' \"x\"... --- ///\n",
    "\x00\x01\x7f control",
]


def _random_texts(count: int) -> list[str]:
    """Mixtures of scripts, digits, blanks and marks, the same at each run."""
    dice = random.Random(0)
    pieces = [
        *"aZé'sтя東カ한ع1234567890 \n\t\r.,;:!?#(){}[]<>|_-+*/\\\"",
        "  ",
        "'re",
        "\r\n",
        "🙂",
        "the",
        "n't",
        "<note>",
    ]
    return ["".join(dice.choices(pieces, k=dice.randint(1, 40))) for _ in range(count)]


def _nfc_normalizer() -> Any:
    from tokenizers import normalizers

    return normalizers.NFC()


@pytest.mark.parametrize("pre", ["llama-bpe", "smaug-bpe", "qwen2"])
def test_same_ids_as_the_hugging_face_tokenizer(
    pre: str, tmp_path: Path, save_model: Callable[..., Any], save_tokenizer: Callable[..., Any], run_gguf: Any
) -> None:
    import unicodedata

    structure: dict[str, Any] = {
        "llama-bpe": {},
        "smaug-bpe": {"ignore_merges": False},
        "qwen2": {"regex": QWEN_REGEX, "ignore_merges": False, "normalizer": _nfc_normalizer()},
    }[pre]
    save_model(tmp_path / "hf", num_hidden_layers=1)
    tokenizer = save_tokenizer(tmp_path / "hf", **structure)
    assert read_vocabulary(tmp_path / "hf", ROWS).splitting.pre == pre
    llama = run_gguf(write_gguf(tmp_path / "hf", tmp_path / "model.gguf", "f16", name="tiny").path)
    for text in PROBES + _random_texts(150):
        probe = unicodedata.normalize("NFC", text) if pre == "qwen2" else text  # llama.cpp leaves NFC to the caller
        assert llama.tokenize(probe) == tokenizer(probe)["input_ids"], repr(probe)


@pytest.fixture
def tokenizer_folder(tmp_path: Path, save_tokenizer: Callable[..., Any]) -> Path:
    save_tokenizer(tmp_path)
    return tmp_path


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_types_and_special_ids(tokenizer_folder: Path) -> None:
    vocabulary = read_vocabulary(tokenizer_folder, ROWS)
    assert vocabulary.bos is not None and vocabulary.pad is not None
    assert vocabulary.tokens[vocabulary.eos] == "<|end_of_text|>"
    assert vocabulary.types[vocabulary.pad] == TokenType.CONTROL
    assert vocabulary.types[vocabulary.tokens.index("<note>")] == TokenType.USER_DEFINED
    assert vocabulary.types[0] == TokenType.NORMAL
    assert (vocabulary.tokens[-1], vocabulary.types[-1]) == (f"[PAD{ROWS - 1}]", TokenType.UNUSED)
    assert len(vocabulary.tokens) == len(vocabulary.types) == ROWS
    assert all(len(merge.split(" ")) == 2 for merge in vocabulary.splitting.merges)


def test_the_template_file_wins_over_the_config(tokenizer_folder: Path) -> None:
    _edit(tokenizer_folder / "tokenizer_config.json", lambda config: config.update(chat_template="from the config"))
    assert "bos_token" in str(read_vocabulary(tokenizer_folder, ROWS).chat_template)
    (tokenizer_folder / "chat_template.jinja").unlink()
    assert read_vocabulary(tokenizer_folder, ROWS).chat_template == "from the config"


BOS_PIECE, EOS_PIECE = ({"SpecialToken": {"id": f"<|{name}_of_text|>", "type_id": 0}} for name in ("begin", "end"))
TEXT_PIECE = {"Sequence": {"id": "A", "type_id": 0}}


@pytest.mark.parametrize("around", [(True, False), (False, False), (False, True), (True, True)])
@pytest.mark.parametrize("add_bos_token", [None, False, True])
def test_bos_and_eos_are_added_as_transformers_does(
    around: tuple[bool, bool], add_bos_token: bool | None, tokenizer_folder: Path
) -> None:
    from transformers import AutoTokenizer

    eos = read_vocabulary(tokenizer_folder, ROWS).eos
    single = [BOS_PIECE] * around[0] + [TEXT_PIECE] + [EOS_PIECE] * around[1]
    end = {"id": "<|end_of_text|>", "ids": [eos], "tokens": ["<|end_of_text|>"]}

    def change(document: dict[str, Any]) -> None:
        document["post_processor"]["single"] = single
        document["post_processor"]["special_tokens"]["<|end_of_text|>"] = end

    _edit(tokenizer_folder / "tokenizer.json", change)
    if add_bos_token is not None:
        _edit(tokenizer_folder / "tokenizer_config.json", lambda config: config.update(add_bos_token=add_bos_token))
    vocabulary = read_vocabulary(tokenizer_folder, ROWS)
    assert (vocabulary.add_bos, vocabulary.add_eos) == around
    ids = AutoTokenizer.from_pretrained(tokenizer_folder)("the")["input_ids"]
    assert (ids[0] == vocabulary.bos, ids[-1] == vocabulary.eos) == around


def _regex(text: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: document["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex=text)


UNKNOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another regex": _regex(r"\p{L}+|\p{N}+"),
    "Qwen's regex without NFC": _regex(QWEN_REGEX),
    "ByteLevel with its own regex": lambda d: d["pre_tokenizer"]["pretokenizers"][1].update(use_regex=True),
    "a prefix space": lambda d: d["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
    "Split that removes": lambda d: d["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"),
    "no pre-tokenizer": lambda d: d.update(pre_tokenizer=None),
    "a normalizer": lambda d: d.update(normalizer={"type": "Lowercase"}),
    "not BPE": lambda d: d["model"].update(type="Unigram"),
    "a token that strips": lambda d: d["added_tokens"][0].update(lstrip=True),
    "another post-processor": lambda d: d.update(post_processor={"type": "BertProcessing"}),
    "a template with PAD": lambda d: d["post_processor"]["special_tokens"]["<|begin_of_text|>"].update(ids=[3, 4]),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_unknown_structure_is_refused(what: str, tokenizer_folder: Path) -> None:
    _edit(tokenizer_folder / "tokenizer.json", UNKNOWN[what])
    with pytest.raises(ConfigError, match=r"tokenizer\.json: no tokenizer of llama\.cpp is known to do the same"):
        read_vocabulary(tokenizer_folder, ROWS)


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "special token nobody has": ("tokenizer_config.json", lambda d: d.update(eos_token="<|gone|>")),
    "no end token": ("tokenizer_config.json", lambda d: d.pop("eos_token")),
    "no merges": ("tokenizer.json", lambda d: d["model"].update(merges=[])),
    "one token, two ids": ("tokenizer.json", lambda d: d["added_tokens"][0].update(content="a")),
    "a list for an object": ("tokenizer.json", lambda d: d.update(added_tokens=[1])),
}


@pytest.mark.parametrize("what", BROKEN)
def test_contradictions_are_refused(what: str, tokenizer_folder: Path) -> None:
    file, change = BROKEN[what]
    _edit(tokenizer_folder / file, change)
    with pytest.raises(UpstreamError, match=r"tokenizer(_config)?\.json"):
        read_vocabulary(tokenizer_folder, ROWS)


def test_more_tokens_than_embeddings_are_refused(tokenizer_folder: Path) -> None:
    with pytest.raises(UpstreamError, match="embeddings have 300 rows"):
        read_vocabulary(tokenizer_folder, 300)


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"tokenizer\.json is missing"):
        read_vocabulary(tmp_path, ROWS)


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """Gemma's tokenizer: SentencePiece's, and runs of spaces that are added tokens too."""
    return families.save_tokenizer("gemma3", tmp_path)


def test_sentencepieces_merges_become_scores(pieces: Path) -> None:
    found = read_vocabulary(pieces, ROWS)
    scores = dict(zip(found.tokens, found.splitting.scores, strict=True))
    types = dict(zip(found.tokens, found.types, strict=True))
    model = json.loads((pieces / "tokenizer.json").read_text())["model"]
    joined = ["".join(pair) for pair in model["merges"]]
    by_merges = [scores[piece] for piece in joined]
    assert by_merges == sorted(by_merges, reverse=True)
    assert len(set(by_merges[-100:])) > 30, "each learned piece has a score of its own"
    assert scores["▁▁▁"] == scores["▁▁▁▁"] > scores["▁▁"] > scores[joined[-1]]
    assert found.splitting.model == "llama" and not found.splitting.merges and not found.splitting.space_first
    assert (types["<0x0A>"], types["<unk>"], types["<bos>"]) == (TokenType.BYTE, TokenType.UNKNOWN, TokenType.CONTROL)
    assert (types["▁▁"], types["\n\n"], types[joined[-1]]) == (
        TokenType.NORMAL,
        TokenType.USER_DEFINED,
        TokenType.NORMAL,
    )


def test_a_token_beyond_the_embeddings_that_only_images_have(pieces: Path) -> None:
    image = {"id": ROWS, "content": "<image>", "special": True}
    _edit(pieces / "tokenizer.json", lambda document: document["added_tokens"].append(image))
    assert "<image>" not in read_vocabulary(pieces, ROWS).tokens
    _edit(pieces / "tokenizer.json", lambda document: document["added_tokens"][-1].update(special=False))
    with pytest.raises(UpstreamError, match=f"ids up to {ROWS}"):
        read_vocabulary(pieces, ROWS)


def _merges(change: Callable[[list[list[str]]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda document: change(document["model"]["merges"])


def _in_turn(merges: list[list[str]]) -> None:
    """The second way to a learned piece comes after all the others."""
    joined = ["".join(pair) for pair in merges]
    merges.append(merges.pop(next(at for at in range(40, len(joined)) if joined[at] == joined[at - 1])))


NOT_SCORES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a way left out": ("no merge makes", _merges(lambda merges: merges.pop(-1))),
    "two pieces in turn": ("in turn", _merges(_in_turn)),
    "other spaces": ("treats spaces by", lambda d: d["normalizer"].update(content="_")),
    "another normalizer": ("treats spaces by", lambda d: d.update(normalizer={"type": "NFKC"})),
    "a space before each piece": (
        "treats spaces by",
        lambda d: d.update(normalizer=None, pre_tokenizer={"type": "Metaspace", "prepend_scheme": "always"}),
    ),
    "words that stay whole": ("treats spaces by", lambda d: d["model"].update(ignore_merges=True)),
}


@pytest.mark.parametrize("what", NOT_SCORES)
def test_what_scores_cannot_say_is_refused(what: str, pieces: Path) -> None:
    match, change = NOT_SCORES[what]
    _edit(pieces / "tokenizer.json", change)
    with pytest.raises(ConfigError, match=match):
        read_vocabulary(pieces, ROWS)
