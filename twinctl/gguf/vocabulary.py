"""A model's tokenizer as GGUF keeps it: tokens, merges, special ids, the pre-tokenizer's name and the chat template.

What must stay true: llama.cpp makes the same token ids of a text as the Hugging Face tokenizer did in training.
llama.cpp knows pre-tokenizers by name only, so a name is given only to a structure that is known to be the same, and
any other is refused: a wrong name gives perfect logits over wrong tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.checkpoint import read_json

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS_BY_THREE, _DIGITS_ALONE = _WORDS + r"\p{N}{1,3}" + _REST, _WORDS + r"\p{N}" + _REST

# (Split regex, normalizer, ignore_merges) -> tokenizer.ggml.pre. "smaug-bpe" is "llama-bpe" that obeys the merges.
# llama.cpp does no NFC for "qwen2": text that is not NFC yet may come out as other tokens there.
_PRE_TOKENIZERS: Mapping[tuple[str, str | None, bool], str] = {
    (_DIGITS_BY_THREE, None, True): "llama-bpe",
    (_DIGITS_BY_THREE, None, False): "smaug-bpe",
    (_DIGITS_ALONE, "NFC", False): "qwen2",
}
_ODD_SETTINGS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


@dataclass(frozen=True)
class Vocabulary:
    """`tokens` and `types` run over all rows of the embeddings; an id is None where the model has no such token."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    bos: int | None
    eos: int
    pad: int | None
    add_bos: bool
    add_eos: bool
    chat_template: str | None


def read_vocabulary(model_dir: Path, size: int) -> Vocabulary:
    """The tokenizer of a model folder, for embeddings of `size` rows.

    Raises UpstreamError where a file is missing, damaged or contradicts another; ConfigError for a tokenizer that
    llama.cpp would run differently.
    """
    path, config_path = model_dir / "tokenizer.json", model_dir / "tokenizer_config.json"
    tokenizer = read_json(path)
    config = read_json(config_path) if config_path.is_file() else {}
    try:
        return _read(model_dir, tokenizer, config, size)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamError(f"{path} or {config_path.name} is not built as a tokenizer is: {error!r}") from error


def _read(model_dir: Path, tokenizer: Mapping[str, Any], config: Mapping[str, Any], size: int) -> Vocabulary:
    path = model_dir / "tokenizer.json"
    tokens, types = _tokens(tokenizer, size, path)
    ids = {token: number for number, token in enumerate(tokens)}
    bos, eos, pad = (_special_id(config, f"{role}_token", ids, model_dir) for role in ("bos", "eos", "pad"))
    if eos is None:  # llama.cpp would take token 11 for it
        raise UpstreamError(f"{model_dir / 'tokenizer_config.json'} names no eos_token: the model would never stop")
    add_bos, add_eos = _added_around(tokenizer, bos, eos, path)
    return Vocabulary(
        pre=_pre_tokenizer_name(tokenizer, path),
        tokens=tokens,
        types=types,
        merges=_merges(tokenizer, path),
        bos=bos,
        eos=eos,
        pad=pad,
        add_bos=add_bos,
        add_eos=add_eos,
        chat_template=_chat_template(model_dir, config),
    )


def _pre_tokenizer_name(tokenizer: Mapping[str, Any], path: Path) -> str:
    """llama.cpp's name for how a tokenizer.json cuts text into words before merging."""
    steps = _flat(tokenizer.get("pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type") for step in steps]
    if kinds != ["Split", "ByteLevel"]:
        raise _unknown(path, f"its pre-tokenizer steps are {kinds}, not Split and ByteLevel")
    split, byte_level = steps
    plain = split.get("behavior") == "Isolated" and not split.get("invert")
    if not plain or byte_level.get("use_regex", True) or byte_level.get("add_prefix_space", True):
        raise _unknown(path, "its Split and ByteLevel steps have settings that no known tokenizer has")
    model = _object(tokenizer.get("model"))
    odd = [key for key in _ODD_SETTINGS if model.get(key)]
    if model.get("type") != "BPE" or odd:
        raise _unknown(path, f"its model is {model.get('type')!r} with {odd or 'no'} settings, not plain BPE")
    normalizers = [step.get("type") for step in _flat(tokenizer.get("normalizer"), "normalizers")]
    regex = _object(split.get("pattern")).get("Regex")
    name = None
    if len(normalizers) <= 1 and isinstance(regex, str):
        name = _PRE_TOKENIZERS.get((regex, next(iter(normalizers), None), bool(model.get("ignore_merges"))))
    if name is None:
        ignore_merges = bool(model.get("ignore_merges"))
        raise _unknown(path, f"it has the regex {regex!r}, normalizers {normalizers}, ignore_merges {ignore_merges}")
    return name


def _tokens(tokenizer: Mapping[str, Any], size: int, path: Path) -> tuple[list[str], list[int]]:
    """Text and type of each id below `size`; ids without a token (padded embeddings) are named and marked unused."""
    vocabulary = _object(_object(tokenizer.get("model")).get("vocab"))
    texts = {int(number): str(text) for text, number in vocabulary.items()}
    types = dict.fromkeys(texts, int(TokenType.NORMAL))
    for token in tokenizer.get("added_tokens") or []:
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word"):
            raise _unknown(path, f"its added token {token['content']!r} takes part of the text around it")
        texts[token["id"]] = token["content"]
        types[token["id"]] = int(TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED)
    if not texts or max(texts) >= size:
        raise UpstreamError(f"{path} has ids up to {max(texts, default=-1)}, the model's embeddings have {size} rows")
    if len(set(texts.values())) != len(texts):
        raise UpstreamError(f"{path} gives two ids to one token")
    return (
        [texts.get(number, f"[PAD{number}]") for number in range(size)],
        [types.get(number, int(TokenType.UNUSED)) for number in range(size)],
    )


def _merges(tokenizer: Mapping[str, Any], path: Path) -> list[str]:
    """Each merge as "left right". tokenizer.json has pairs, or, before tokenizers 0.20, such strings."""
    given = _object(tokenizer.get("model")).get("merges") or []
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in given]
    if not merges:
        raise UpstreamError(f"{path} has no merges")
    if any(len(pair) != 2 or " " in "".join(pair) for pair in merges):
        raise _unknown(path, "its merges hold spaces, which byte-level BPE never does")
    return [" ".join(pair) for pair in merges]


def _special_id(config: Mapping[str, Any], role: str, ids: Mapping[str, int], model_dir: Path) -> int | None:
    token = config.get(role)
    text = token.get("content") if isinstance(token, dict) else token
    if text is None:
        return None
    if text not in ids:
        raise UpstreamError(
            f"{model_dir / 'tokenizer_config.json'}: {role} is {text!r}, which tokenizer.json does not have"
        )
    return ids[text]


def _added_around(tokenizer: Mapping[str, Any], bos: int | None, eos: int, path: Path) -> tuple[bool, bool]:
    """Whether encoding puts BOS before a text and EOS after it, by the post-processor.

    As transformers 5 has it: where there is a tokenizer.json, `add_bos_token` in tokenizer_config.json is not read.
    """
    pieces = list(_template(tokenizer, path))
    before, after = pieces[: pieces.index(None)], pieces[pieces.index(None) + 1 :]
    if before not in ([], [bos]) or after not in ([], [eos]):
        raise _unknown(path, f"its post-processor puts the tokens {before} and {after} around a text, not BOS and EOS")
    return bool(before), bool(after)


def _template(tokenizer: Mapping[str, Any], path: Path) -> Iterator[int | None]:
    """The ids that the post-processor puts around one text; None stands for the text."""
    templates = []
    for step in _flat(tokenizer.get("post_processor"), "processors"):
        if step.get("type") == "TemplateProcessing":
            templates.append(step)
        elif step.get("type") != "ByteLevel":  # that one moves offsets, not ids
            raise _unknown(path, f"its post-processor is {step.get('type')!r}")
    if len(templates) > 1:
        raise _unknown(path, "its post-processor has several templates")
    for piece in templates[0]["single"] if templates else [{"Sequence": {}}]:
        if "SpecialToken" in piece:
            yield from templates[0]["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
        else:
            yield None


def _chat_template(model_dir: Path, config: Mapping[str, Any]) -> str | None:
    """The template of chat_template.jinja, else of tokenizer_config.json (where several are named, the default)."""
    path = model_dir / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        template = {entry.get("name"): entry.get("template") for entry in template}.get("default")
    return template if isinstance(template, str) else None


def _flat(step: Any, children: str) -> list[Mapping[str, Any]]:
    """A tokenizer.json component as a list of steps: nothing, one, or a Sequence's."""
    step = _object(step)
    if step.get("type") != "Sequence":
        return [step] if step else []
    return [_object(child) for child in step.get(children) or []]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _unknown(path: Path, why: str) -> ConfigError:
    known = ", ".join(_PRE_TOKENIZERS.values())
    return ConfigError(f"{path}: no tokenizer of llama.cpp is known to do the same: {why}", f"known: {known}")
