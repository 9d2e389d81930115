"""Tiny models in folders, each with the tokenizer's structure, the chat template and the config files of a real family.

What matters here: how text is split and normalised, which special tokens there are, whether a BOS is put before it,
which class tokenizer_config.json names (transformers rebuilds some), and how the family's own template writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.tokenizers import LLAMA3, REST, WORDS, byte_level, puts_first

QWEN = WORDS + r"|\p{N}" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "The quick brown fox isn't lazy; it's 1234567 years old, they'll say. Ünïcödé, naïve café, 東京 and Москва.",
    "def main(args):\n    return [x ** 2 for x in range(100)]\n\n\tI've seen we'd have been there\r\n   three spaces",
    "Below is an instruction that describes a task. ### Instruction: ### Response: user assistant system tool",
    "0 1 12 34 99 1999 2024 2025 100 200 12 2024",
] * 8
NASTY = [
    "plain words",
    "  two before, two after  ",
    "\n\nlines\n \n\tand tabs\t\n",
    "digits 0 12 345 6789 1234567890 3.14 ٣٤",
    "naïve café Ünïcödé e\u0301 ﬁ Å",
    "東京 Москва नमस्ते שלום مرحبا 한국어",
    "emoji 🙂 👩‍👩‍👧 🇩🇪 ✈️",
    "def f(x):\n    return x ** 2  # code\n\n\nprint(f'{x!r}')",
    "it's I'VE they'll 'd ''",
    "zero\u200bwidth \u00a0 nbsp \u2028 separators \ufeff",
    "▁ already an underscore ▁▁",
    "[INST] <s > <| im_start |> ### Response: {{ x }} {% y %} &amp;",
    "a" * 200,
    ".",
]

MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token}}{% endif %}"
    "{% endfor %}"
)
LLAMA2_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' '  + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
LLAMA3_TEMPLATE = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- tools | tojson(indent=4) }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN2_TEMPLATE = """{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# Thoughts stand in the answer to the last question only.
QWEN3_TEMPLATE = """{%- set ns = namespace(asking=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.asking and message.role == "user" %}
        {%- set ns.asking = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "assistant" and loop.index0 > ns.last %}
        {%- set content = '<think>\\n\\n</think>\\n\\n' + content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


@dataclass
class Family:
    """`kind` is config.json's model_type; `config` goes into tokenizer_config.json."""

    make: Callable[[], Any]
    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    template: str = ""
    bos: str | None = None
    eos: str = "</s>"
    pad: str | None = None


def _byte_level(regex: str, *specials: str, bos: str = "", normalizer: Any = None, ignore_merges: bool = False) -> Any:
    from tokenizers import processors

    tokenizer = byte_level(CORPUS, 600, specials, regex=regex, ignore_merges=ignore_merges, normalizer=normalizer)
    offsets = processors.ByteLevel(trim_offsets=False)
    tokenizer.post_processor = processors.Sequence([offsets, puts_first(tokenizer, bos)]) if bos else offsets
    return tokenizer


def _sentence_piece(
    *specials: str, bos: str, own: tuple[str, ...] = (), normalizer: Any = None, split: Any = None, strip: bool = True
) -> Any:
    """A SentencePiece BPE as it is converted: special tokens, the user's own and bytes first, then the pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    stored = json.loads(trained.to_str())["model"]
    first = [*specials, *own, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = dict.fromkeys([*first, *sorted(stored["vocab"], key=stored["vocab"].get)])
    vocab = {piece: index for index, piece in enumerate(pieces)}
    merges = _ways({piece: -max(0.0, index - len(first)) for piece, index in vocab.items()}, vocab)
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if split is not None:
        tokenizer.pre_tokenizer = split
    ends = [decoders.Strip(" ", 1, 0)] if strip else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends])
    tokenizer.add_special_tokens(list(specials))
    tokenizer.post_processor = puts_first(tokenizer, bos)
    return tokenizer


def _ways(scores: dict[str, float], vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, as transformers' generate_merges lists them: the best score first."""
    halves = [(piece[:cut], piece[cut:]) for piece in vocab for cut in range(1, len(piece))]
    known = [pair for pair in halves if pair[0] in vocab and pair[1] in vocab]
    return sorted(known, key=lambda pair: (scores["".join(pair)], len(pair[0]), len(pair[1])), reverse=True)


def _llama3() -> Any:
    headers = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>")
    begin = "<|begin_of_text|>"
    return _byte_level(LLAMA3, begin, "<|end_of_text|>", *headers, bos=begin, ignore_merges=True)


def _qwen() -> Any:
    from tokenizers import normalizers

    return _byte_level(QWEN, "<|endoftext|>", "<|im_start|>", "<|im_end|>", normalizer=normalizers.NFC())


def _llama2() -> Any:
    from tokenizers import normalizers

    prepend = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _sentence_piece("<unk>", "<s>", "</s>", bos="<s>", normalizer=prepend)


def _mistral3() -> Any:
    from tokenizers import pre_tokenizers

    first = pre_tokenizers.Metaspace("▁", "first", split=False)
    return _sentence_piece("<unk>", "<s>", "</s>", "[INST]", "[/INST]", bos="<s>", split=first)


def _nemo() -> Any:
    specials = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>")
    return _byte_level(TEKKEN, *specials, bos="<s>", ignore_merges=True)


def _gemma() -> Any:
    from tokenizers import AddedToken, normalizers, pre_tokenizers

    specials = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    underscores = normalizers.Replace(" ", "▁")
    own = ("\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "<table>")
    tokenizer = _sentence_piece(*specials, bos="<bos>", own=own, normalizer=underscores, split=split, strip=False)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in own])
    return tokenizer


LEGACY = {"add_bos_token": True, "add_eos_token": False, "unk_token": "<unk>"}
FAMILIES = {
    "llama3": Family(
        _llama3,
        "llama",
        "PreTrainedTokenizerFast",
        template=LLAMA3_TEMPLATE,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    "qwen2": Family(
        _qwen,
        "qwen2",
        "Qwen2Tokenizer",
        {"add_bos_token": False, "add_prefix_space": False, "split_special_tokens": False},
        template=QWEN2_TEMPLATE,
        eos="<|im_end|>",
        pad="<|endoftext|>",
    ),
    "llama2": Family(
        _llama2, "llama", "LlamaTokenizer", {**LEGACY, "legacy": False}, template=LLAMA2_TEMPLATE, bos="<s>"
    ),
    "mistral": Family(
        _llama2, "mistral", "LlamaTokenizer", {**LEGACY, "legacy": True}, template=MISTRAL_TEMPLATE, bos="<s>"
    ),
    "mistral3": Family(
        _mistral3, "mistral", "LlamaTokenizer", {**LEGACY, "legacy": False}, template=MISTRAL_TEMPLATE, bos="<s>"
    ),
    "nemo": Family(
        _nemo,
        "mistral",
        "PreTrainedTokenizerFast",
        {"unk_token": "<unk>"},
        template=MISTRAL_TEMPLATE,
        bos="<s>",
        pad="<pad>",
    ),
    "gemma2": Family(
        _gemma, "gemma2", "GemmaTokenizer", LEGACY, template=GEMMA_TEMPLATE, bos="<bos>", eos="<eos>", pad="<pad>"
    ),
    # Byte-level ones under the name of a class that is not, as SmolLM2's, R1-Distill-Llama's and Command's are.
    "smollm": Family(_qwen, "llama", "GPT2Tokenizer", bos="<|im_start|>", eos="<|im_end|>", pad="<|im_end|>"),
    "r1": Family(_llama3, "llama", "LlamaTokenizerFast", LEGACY, bos="<|begin_of_text|>", eos="<|eot_id|>"),
    "command": Family(_nemo, "cohere", "CohereTokenizerFast", {"unk_token": "<unk>"}, bos="<s>", pad="<pad>"),
}
FAMILIES["qwen3"] = replace(FAMILIES["qwen2"], kind="qwen3", template=QWEN3_TEMPLATE)
FAMILIES["gemma3"] = replace(FAMILIES["gemma2"], kind="gemma3_text")
FAMILIES["llama2 legacy"] = replace(FAMILIES["llama2"], config={**LEGACY, "legacy": True})
# Unsloth's CPU backend takes these as transformers has them, and only its GPU backend repairs or changes them.
ONLY_ON_A_GPU = ("r1", "command", "llama2 legacy")

ARCHITECTURES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "gemma2": "Gemma2",
    "gemma3_text": "Gemma3",
    "cohere": "Cohere",
}
SIZES = {
    "vocab_size": 896,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 512,
}


def save_tokenizer(family: str, folder: Path) -> Path:
    """tokenizer.json, tokenizer_config.json and config.json."""
    spec = FAMILIES[family]
    tokenizer = spec.make()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    added = {str(entry.pop("id")): entry for entry in json.loads(tokenizer.to_str())["added_tokens"]}
    config = {
        "tokenizer_class": spec.name,
        "bos_token": spec.bos,
        "eos_token": spec.eos,
        "pad_token": spec.pad,
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        **spec.config,
    }
    if spec.template:
        config["chat_template"] = spec.template
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    model = {
        "architectures": [f"{ARCHITECTURES[spec.kind]}ForCausalLM"],
        "model_type": spec.kind,
        "eos_token_id": tokenizer.token_to_id(spec.eos),
        "torch_dtype": "float32",
        "transformers_version": "4.51.0",
        **SIZES,
    }
    (folder / "config.json").write_text(json.dumps(model), encoding="utf-8")
    return folder


def save_model(family: str, folder: Path) -> Path:
    """A model of the family with random weights: its tokenizer, its configuration files and model.safetensors."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    save_tokenizer(family, folder)
    torch.manual_seed(0)
    texts = {path: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return folder
