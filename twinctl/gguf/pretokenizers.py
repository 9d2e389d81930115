"""How a tokenizer.json splits a text into tokens, and llama.cpp's name for the same.

There are two kinds. Byte-level BPE follows merges, within words that llama.cpp cuts by a pre-tokenizer that it knows by
name only. SentencePiece's BPE follows scores, within the whole text; transformers writes those as merges (every way to
make a piece, by the piece's score), and only merges of exactly that form can be turned into scores again.

Upstream, as read in llama.cpp at eb6a99c6, all in src/llama-vocab.cpp: the regexes are in the constructor of
llm_tokenizer_bpe, by LLAMA_VOCAB_PRE_TYPE_LLAMA3, _SMAUG, _QWEN2, _TEKKEN and _GPT2, and ignore_merges in
llm_tokenizer_bpe_session::tokenize; scores are in llm_tokenizer_spm_session; the names of `tokenizer.ggml.pre` are in
llama_vocab::impl::load. Where a newer llama.cpp changes one of these, the proof of a file finds other tokens.

What must stay true: a name is given only to a structure that is known to be the same, except for texts that are named
too (`Splitting.unlike`); any other is refused, and the proof compares the tokens of the writer's own texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from re import fullmatch
from typing import Any

from gguf import TokenType

from twinctl.errors import ConfigError, UpstreamError

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS_BY_THREE, _DIGITS_ALONE = _WORDS + r"\p{N}{1,3}" + _REST, _WORDS + r"\p{N}" + _REST
_GPT2 = "GPT-2's"

_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# (Split regex, normalizer, ignore_merges) -> tokenizer.ggml.pre. "smaug-bpe" is "llama-bpe" that obeys the merges.
_PRE_TOKENIZERS: Mapping[tuple[str, str | None, bool], str] = {
    (_DIGITS_BY_THREE, None, True): "llama-bpe",
    (_DIGITS_BY_THREE, None, False): "smaug-bpe",
    (_DIGITS_ALONE, "NFC", False): "qwen2",
    (_TEKKEN, None, True): "tekken",
    (_GPT2, None, False): "gpt-2",
}
# The texts of which llama.cpp still makes other tokens. It composes no characters. And its "tekken" takes a combining
# mark for punctuation, a letter beyond ASCII for upper and lower case at once. With Mistral's vocabulary (Nemo's and
# the later one) that is felt only where a token joins letters to marks: each of its 129,637 tokens that are text
# comes back as itself but 3,422, which all do so. Of Django's translations, 55,784 texts in 80 languages gave the same
# ids; 29 to 84 of 100 in Hindi, Thai, Burmese and their kin did not, 5 to 8 in Arabic and Persian, 1 in Khmer, Urdu and
# Ido. No token joins a capital beyond ASCII to one within, nor a small letter to a capital, so ÉCÔLE is the same.
_UNLIKE: Mapping[str, str] = {
    "qwen2": "text whose characters are not composed (Unicode's NFC)",
    "tekken": "words with combining marks: Hindi, Thai, Burmese and their kin, and Arabic where vowels are written",
}
_ODD_SETTINGS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
_SPACE = "▁"


@dataclass(frozen=True)
class Splitting:
    """`model` and `pre` are GGUF's names. Byte-level BPE has `merges`, each "left right"; SentencePiece's has `scores`,
    one a token, and `space_first`: whether a space is put before the text and after each special token.
    """

    model: str
    pre: str
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    space_first: bool = False

    @property
    def unlike(self) -> str:
        """The texts of which llama.cpp is known to make other tokens than training did; empty where there are none."""
        return _UNLIKE.get(self.pre, "")


def read_splitting(tokenizer: Mapping[str, Any], path: Path, tokens: Sequence[str]) -> Splitting:
    """What a tokenizer.json says, for a vocabulary of `tokens`. Raises ConfigError where llama.cpp has no such thing,
    UpstreamError where it has no merges.
    """
    model = as_object(tokenizer.get("model"))
    odd = [key for key in _ODD_SETTINGS if model.get(key)]
    if model.get("type") != "BPE" or odd:
        raise unknown(path, f"its model is {model.get('type')!r} with {odd or 'no'} settings, not plain BPE")
    # tokenizer.json has merges as pairs, or, before tokenizers 0.20, as "left right".
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges") or []]
    if not merges:
        raise UpstreamError(f"{path} has no merges")
    if any(len(pair) != 2 or " " in "".join(pair) for pair in merges):
        raise unknown(path, "its merges hold spaces")
    pairs = [(str(left), str(right)) for left, right in merges]
    if not model.get("byte_fallback"):
        return Splitting("gpt2", _pre_tokenizer_name(tokenizer, path), merges=[" ".join(pair) for pair in pairs])
    scores = _scores(pairs, tokenizer, tokens, path)
    return Splitting("llama", "default", scores=scores, space_first=_space(tokenizer, path))


def _pre_tokenizer_name(tokenizer: Mapping[str, Any], path: Path) -> str:
    """llama.cpp's name for how a tokenizer.json cuts text into words before merging."""
    regex = _word_regex(tokenizer, path)
    normalizers = [step.get("type") for step in steps_of(tokenizer.get("normalizer"), "normalizers")]
    ignore_merges = bool(as_object(tokenizer.get("model")).get("ignore_merges"))
    name = None
    if len(normalizers) <= 1:
        name = _PRE_TOKENIZERS.get((regex, next(iter(normalizers), None), ignore_merges))
    if name is None:
        raise unknown(path, f"it has the regex {regex!r}, normalizers {normalizers}, ignore_merges {ignore_merges}")
    return name


def _word_regex(tokenizer: Mapping[str, Any], path: Path) -> str:
    """The regex of the Split before ByteLevel, or GPT-2's, which ByteLevel has of its own."""
    steps = steps_of(tokenizer.get("pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type") for step in steps]
    if kinds not in (["Split", "ByteLevel"], ["ByteLevel"]):
        raise unknown(path, f"its pre-tokenizer steps are {kinds}, not Split and ByteLevel")
    split, byte_level = steps[0], steps[-1]
    cuts = split is byte_level or (split.get("behavior") == "Isolated" and not split.get("invert"))
    own_regex = bool(byte_level.get("use_regex", True))
    if not cuts or own_regex != (split is byte_level) or byte_level.get("add_prefix_space", True):
        raise unknown(path, "its Split and ByteLevel steps have settings that no known tokenizer has")
    return _GPT2 if own_regex else str(as_object(split.get("pattern")).get("Regex"))


# SentencePiece's treatment of spaces, as converted: (normalizer steps, pre-tokenizer steps) -> Splitting.space_first.
_PREPEND, _REPLACE = ("Prepend", _SPACE), ("Replace", " ", _SPACE)
_SPACES: Mapping[tuple[tuple[Any, ...], tuple[Any, ...]], bool] = {
    ((_PREPEND, _REPLACE), ()): True,
    # "first" puts a space before a text that has nothing before it. Training's texts begin with BOS, as llama.cpp's do.
    ((), (("Metaspace", _SPACE, "first", False),)): False,
    ((), (("Metaspace", _SPACE, "never", False),)): False,
    ((_REPLACE,), (("Split", " ", "MergedWithPrevious", False),)): False,  # there are no spaces left to split at
    ((_REPLACE,), ()): False,
}


def _space(tokenizer: Mapping[str, Any], path: Path) -> bool:
    steps = (
        tuple(map(_space_step, steps_of(tokenizer.get("normalizer"), "normalizers"))),
        tuple(map(_space_step, steps_of(tokenizer.get("pre_tokenizer"), "pretokenizers"))),
    )
    if steps not in _SPACES or as_object(tokenizer.get("model")).get("ignore_merges"):
        raise unknown(path, f"it treats spaces by {steps}")
    return _SPACES[steps]


def _space_step(step: Mapping[str, Any]) -> tuple[Any, ...]:
    """A step as `_SPACES` has it."""
    pattern = as_object(step.get("pattern")).get("String")
    kind = step.get("type")
    details = {
        "Prepend": (step.get("prepend"),),
        "Replace": (pattern, step.get("content")),
        "Split": (pattern, step.get("behavior"), step.get("invert", False)),
        "Metaspace": (step.get("replacement"), step.get("prepend_scheme"), step.get("split", True)),
    }
    return (kind, *details.get(str(kind), ("?",)))


def _scores(
    pairs: list[tuple[str, str]], tokenizer: Mapping[str, Any], tokens: Sequence[str], path: Path
) -> list[float]:
    """A score for each token: the earlier its merges come, the higher. What no merge makes needs none.

    llama.cpp joins whatever two neighbours make a token, the highest score first and of equal ones the leftmost
    (llm_tokenizer_spm_session in its src/llama-vocab.cpp), so merges and scores agree where every possible merge is
    there, and those that make one piece come one after the other.
    """
    pieces = set(as_object(as_object(tokenizer.get("model")).get("vocab")))
    # What llama.cpp takes out of a text before anything is joined: see `scored_types`.
    added = tokenizer.get("added_tokens") or []
    cut_out = {token["content"] for token in added if token.get("special") or _SPACE not in token["content"]}
    made = set(pairs)
    for piece in pieces - cut_out:
        for pair in ((piece[:cut], piece[cut:]) for cut in range(1, len(piece))):
            if pair not in made and all(len(half) == 1 or half in pieces for half in pair):
                raise unknown(path, f"no merge makes {piece!r} of {pair}, as a score would")
    ranks = {piece: rank for rank, group in enumerate(_groups(pairs, cut_out, path)) for piece in group}
    return [-float(ranks.get(token, len(ranks))) for token in tokens]


def _groups(pairs: list[tuple[str, str]], cut_out: set[str], path: Path) -> Iterator[list[str]]:
    """The pieces in the merges' order. Those whose merges are mixed had equal scores, and share one again.

    That is right for runs of one letter (Gemma's spaces): both ways a run grows from the left to the longest piece.
    The first piece that SentencePiece learns has the score 0, as what a user adds, and so may be among them.
    """
    spans: dict[str, tuple[int, int]] = {}
    for index, (left, right) in enumerate(pairs):
        first, _ = spans.get(left + right, (index, index))
        spans[left + right] = first, index
    group: list[str] = []
    reach = -1
    for piece, (first, last) in spans.items():
        if first > reach and group:
            yield group
            group = []
        group, reach = [*group, piece], max(reach, last)
        if sum(len(set(each)) > 1 and each not in cut_out for each in group) > 1:
            raise unknown(path, f"its merges make {group[0]!r} and {piece!r} in turn, which scores cannot")
    yield group


def scored_types(tokens: Sequence[str], types: Sequence[int], unk: int | None) -> list[int]:
    """GGUF's types for SentencePiece's tokens: bytes and the unknown token have types of their own.

    Runs of spaces that Gemma also lists as added tokens are normal ones: as such they are written as spaces again.
    """
    scored = list(types)
    for number, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        if fullmatch(r"<0x[0-9A-F]{2}>", token):
            scored[number] = int(TokenType.BYTE)
        elif kind == TokenType.USER_DEFINED and _SPACE in token:
            scored[number] = int(TokenType.NORMAL)
    if unk is not None:
        scored[unk] = int(TokenType.UNKNOWN)
    return scored


def steps_of(step: Any, children: str) -> list[Mapping[str, Any]]:
    """A tokenizer.json component as a list of steps: nothing, one, or a Sequence's."""
    step = as_object(step)
    if step.get("type") != "Sequence":
        return [step] if step else []
    return [as_object(child) for child in step.get(children) or []]


def as_object(value: Any) -> Mapping[str, Any]:
    """The value if it is an object of JSON, else an empty one."""
    return value if isinstance(value, dict) else {}


def unknown(path: Path, why: str) -> ConfigError:
    """What to raise for a tokenizer that llama.cpp would run differently."""
    known = ", ".join([*_PRE_TOKENIZERS.values(), "SentencePiece's BPE"])
    return ConfigError(f"{path}: no tokenizer of llama.cpp is known to do the same: {why}", f"known: {known}")
