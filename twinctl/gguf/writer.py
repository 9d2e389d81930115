"""From a Hugging Face model folder to one GGUF file.

What must stay true: everything that can be refused is refused before a byte is written; the weights stream through,
about one tensor at a time; and the final name only ever holds a whole file, whatever kills the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, RopeScalingType, size_label

from twinctl.errors import ConfigError
from twinctl.gguf.checkpoint import StoredTensor, read_model_json, stored_tensors
from twinctl.gguf.encoding import Tensor, available_cores, encoded
from twinctl.gguf.families import Family, find_family
from twinctl.gguf.ggml import load_ggml
from twinctl.gguf.model import Hyperparameters, assign, read_hyperparameters
from twinctl.gguf.quant_types import ModelTraits, QuantType, find_quant
from twinctl.gguf.rope import Rope, frequency_factors
from twinctl.gguf.vocabulary import Vocabulary, read_vocabulary
from twinctl.pipeline.phase import ReportProgress
from twinctl.workspace.disk import require_room
from twinctl.workspace.files import atomic_write

_STEPS = 200  # calls of a progress, about


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, for the file's header; what is empty is left out.

    `entries` are further facts; each is kept under the key `twinctl.<its name>`.
    """

    license: str = ""
    base_model: str = ""
    base_model_url: str = ""
    entries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GgufFile:
    """What was written: bytes of the whole file, tensors in it, parameters of the model. `unlike`: see Splitting."""

    path: Path
    quant: str
    size: int
    tensors: int
    parameters: int
    unlike: str


@dataclass(frozen=True)
class _Plan:
    """A model that was checked and can be written."""

    family: Family
    numbers: Hyperparameters
    vocabulary: Vocabulary
    quant: QuantType
    tensors: list[Tensor]

    @property
    def size(self) -> int:
        return sum(tensor.size for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors if isinstance(tensor.source, StoredTensor))


def write_gguf(
    model_dir: Path,
    target: Path,
    quant: str,
    *,
    name: str,
    provenance: Provenance | None = None,
    progress: ReportProgress | None = None,
    threads: int | None = None,
) -> GgufFile:
    """Write the model in `model_dir` (config.json, tokenizer.json, safetensors) to `target`, replacing what is there.

    `quant` is a key of `quant_types.QUANTS`; `name` becomes `general.name`. `progress(done, total)` is called now and
    then, and at the end, with bytes of tensor data. `threads` (all available cores unless said) changes no byte; each
    takes some 30 MiB.
    Raises ConfigError for a model or quant that cannot be written and for a disk without room, UpstreamError for a
    folder that is incomplete, damaged or contradicts itself, CheckFailed for numbers that do not fit, OSError for a
    disk that fills up meanwhile. After any of them `target` is as it was before.
    """
    plan = _plan(model_dir, find_quant(quant))
    target.parent.mkdir(parents=True, exist_ok=True)
    require_room(target.parent, plan.size, "the file", "free space there, or choose a smaller quantization")
    with atomic_write(target, single_writer=True) as partial:
        writer = GGUFWriter(partial, plan.family.arch)
        try:
            _add_general(writer, plan, name, provenance or Provenance())
            _add_hyperparameters(writer, plan.numbers)
            _add_vocabulary(writer, plan.vocabulary)
            _write_tensors(writer, plan, threads or available_cores(), progress)
        finally:
            writer.close()
    unlike = plan.vocabulary.splitting.unlike
    return GgufFile(target, quant, target.stat().st_size, len(plan.tensors), plan.parameters, unlike)


def _plan(model_dir: Path, quant: QuantType) -> _Plan:
    config = read_model_json(model_dir / "config.json")
    family = find_family(config)
    if config.get("quantization_config"):
        raise ConfigError(
            "the model is quantised already; GGUF is written from 16-bit weights", "merge to 16 bit first"
        )
    if quant.is_quantised:
        load_ggml()  # or refuse before any work
    numbers = read_hyperparameters(config, family)
    vocabulary = read_vocabulary(model_dir, numbers.vocabulary)
    pairs = assign(family, numbers, stored_tensors(model_dir))
    # As llama.cpp recognizes a 70B, in src/models/llama.cpp and qwen2.cpp.
    has_grouped_queries = family.arch == "qwen2" or numbers.heads != numbers.kv_heads
    is_70b = family.arch in ("llama", "qwen2") and numbers.layers == 80 and has_grouped_queries
    model = ModelTraits(numbers.layers, numbers.tied, is_70b=is_70b)
    heads = {"": 0, "heads": numbers.heads, "kv_heads": numbers.kv_heads}
    tensors = []
    for weight, source in pairs:
        kind = quant.type_of(weight.name, source.shape, model)
        tensors.append(Tensor(weight.name, source.shape, kind, source, heads[weight.rotary], weight.plus))
    factors = frequency_factors(numbers.rope, numbers.head_dim)
    if factors is not None:
        tensors.insert(0, Tensor("rope_freqs.weight", factors.shape, GGMLQuantizationType.F32, factors))
    return _Plan(family, numbers, vocabulary, quant, tensors)


def _add_general(writer: GGUFWriter, plan: _Plan, name: str, provenance: Provenance) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_size_label(size_label(plan.parameters, plan.parameters, 0, 0))
    writer.add_license(provenance.license)
    if provenance.base_model:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, provenance.base_model)
        writer.add_base_model_repo_url(0, provenance.base_model_url)
    for key, text in provenance.entries.items():
        writer.add_string(f"twinctl.{key}", text)
    writer.add_file_type(plan.quant.file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_hyperparameters(writer: GGUFWriter, numbers: Hyperparameters) -> None:
    writer.add_block_count(numbers.layers)
    writer.add_context_length(numbers.context)
    writer.add_embedding_length(numbers.hidden)
    writer.add_feed_forward_length(numbers.feed_forward)
    writer.add_head_count(numbers.heads)
    writer.add_head_count_kv(numbers.kv_heads)
    writer.add_key_length(numbers.head_dim)
    writer.add_value_length(numbers.head_dim)
    writer.add_layer_norm_rms_eps(numbers.rms_eps)
    writer.add_vocab_size(numbers.vocabulary)
    writer.add_rope_dimension_count(numbers.head_dim)
    _add_rope(writer, numbers.rope)
    if numbers.window is not None:
        writer.add_sliding_window(numbers.window)
    if numbers.local_theta is not None:
        writer.add_rope_freq_base_swa(numbers.local_theta)


def _add_rope(writer: GGUFWriter, rope: Rope) -> None:
    writer.add_rope_freq_base(rope.theta)
    if rope.kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(rope.kind))
        writer.add_rope_scaling_factor(rope.settings["factor"])
    if rope.kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(rope.settings["original_max_position_embeddings"]))
        writer.add_rope_scaling_attn_factors(rope.settings["attention"])


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.splitting.model)  # "gpt2" is GGUF's word for byte-level BPE
    writer.add_tokenizer_pre(vocabulary.splitting.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.splitting.scores:
        writer.add_token_scores(vocabulary.splitting.scores)
        writer.add_add_space_prefix(vocabulary.splitting.space_first)
    else:
        writer.add_token_merges(vocabulary.splitting.merges)
    specials = (
        (writer.add_bos_token_id, vocabulary.bos),
        (writer.add_eos_token_id, vocabulary.eos),
        (writer.add_eot_token_id, vocabulary.eos),
        (writer.add_unk_token_id, vocabulary.unk),
        (writer.add_pad_token_id, vocabulary.pad),
    )
    for add, number in specials:
        if number is not None:
            add(number)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _write_tensors(writer: GGUFWriter, plan: _Plan, threads: int, progress: ReportProgress | None) -> None:
    for tensor in plan.tensors:
        # The shape is in elements; the uint8 type would make the library take it for bytes, so it gets the raw type.
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size, raw_dtype=tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    (file,) = writer.fout  # the library writes whole tensors only
    writer.write_padding(file, file.tell())
    done = shown = left = 0
    for tensor, part in encoded(plan.tensors, threads):
        left = (left or tensor.size) - part.nbytes
        file.write(part.data)
        if not left:
            writer.write_padding(file, tensor.size)
        done += part.nbytes
        if progress is not None and ((done - shown) * _STEPS >= plan.size or done == plan.size):
            shown = done
            progress(done, plan.size)
