"""A model's tokenizer as GGUF keeps it: tokens and their types, special ids, how a text is cut, the chat template.

What must stay true: llama.cpp makes the same token ids of a text as the Hugging Face tokenizer did in training. What it
would read differently is refused: it would give perfect logits over wrong tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from twinctl.errors import UpstreamError
from twinctl.gguf.checkpoint import read_model_json
from twinctl.gguf.pretokenizers import Splitting, as_object, read_splitting, scored_types, steps_of, unknown

_ALWAYS_NAMED = ("bos", "eos", "pad", "unk")


@dataclass(frozen=True)
class Vocabulary:
    """`tokens` and `types` run over all rows of the embeddings; an id is None where the model has no such token.

    `splitting` says how a text is cut, by merges or by scores. The end of a turn (GGUF's eot) is EOS: training made
    them one.
    """

    splitting: Splitting
    tokens: list[str]
    types: list[int]
    bos: int | None
    eos: int
    pad: int | None
    unk: int | None
    add_bos: bool
    add_eos: bool
    chat_template: str | None


def read_vocabulary(model_dir: Path, size: int) -> Vocabulary:
    """The tokenizer of a model folder, for embeddings of `size` rows.

    Raises UpstreamError where a file is missing, damaged or contradicts another; ConfigError for a tokenizer that
    llama.cpp would run differently.
    """
    path, config_path = model_dir / "tokenizer.json", model_dir / "tokenizer_config.json"
    tokenizer = read_model_json(path)
    config = read_model_json(config_path) if config_path.is_file() else {}
    try:
        return _read(model_dir, tokenizer, config, size)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamError(f"{path} or {config_path.name} is not built as a tokenizer is: {error!r}") from error


def _read(model_dir: Path, tokenizer: Mapping[str, Any], config: Mapping[str, Any], size: int) -> Vocabulary:
    path = model_dir / "tokenizer.json"
    tokens, types = _tokens(tokenizer, size, path)
    ids = {token: number for number, token in enumerate(tokens)}
    bos, eos, pad, unk = (_special_id(config, f"{role}_token", ids, model_dir) for role in _ALWAYS_NAMED)
    if eos is None:  # llama.cpp would take token 11 for it
        raise UpstreamError(f"{model_dir / 'tokenizer_config.json'} names no eos_token: the model would never stop")
    add_bos, add_eos = _added_around(tokenizer, bos, eos, path)
    splitting = read_splitting(tokenizer, path, tokens)
    return Vocabulary(
        splitting=splitting,
        tokens=tokens,
        types=scored_types(tokens, types, unk) if splitting.scores else types,
        bos=bos,
        eos=eos,
        pad=pad,
        unk=unk,
        add_bos=add_bos,
        add_eos=add_eos,
        chat_template=_chat_template(model_dir, config),
    )


def _tokens(tokenizer: Mapping[str, Any], size: int, path: Path) -> tuple[list[str], list[int]]:
    """Text and type of each id below `size`; ids without a token (padded embeddings) are named and marked unused."""
    vocabulary = as_object(as_object(tokenizer.get("model")).get("vocab"))
    texts = {int(number): str(text) for text, number in vocabulary.items()}
    types = dict.fromkeys(texts, int(TokenType.NORMAL))
    for token in tokenizer.get("added_tokens") or []:
        if token["id"] >= size and token.get("special"):
            continue  # Gemma 3's for images: a model of text has no row for it
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word"):
            raise unknown(path, f"its added token {token['content']!r} takes part of the text around it")
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
        raise unknown(path, f"its post-processor puts the tokens {before} and {after} around a text, not BOS and EOS")
    return bool(before), bool(after)


def _template(tokenizer: Mapping[str, Any], path: Path) -> Iterator[int | None]:
    """The ids that the post-processor puts around one text; None stands for the text."""
    templates = []
    for step in steps_of(tokenizer.get("post_processor"), "processors"):
        if step.get("type") == "TemplateProcessing":
            templates.append(step)
        elif step.get("type") != "ByteLevel":  # that one moves offsets, not ids
            raise unknown(path, f"its post-processor is {step.get('type')!r}")
    if len(templates) > 1:
        raise unknown(path, "its post-processor has several templates")
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
