"""How fast GGUF files are written, against llama.cpp's own function on the same numbers and threads, and how large.

    python tests/benchmarks/quantise.py [--layers 4] [--threads 2] [--quant q4_k_m ...] [--folder DIR]

A model of Llama 3.1 8B's shape (or of fewer layers) is made of random bfloat16 weights, once. "Ours" is from the stored
bytes of a layer's matrices to the encoded ones (of as many layers as give each thread slices enough, or its last one
alone would be felt); "the function" is `ggml_quantize_chunk` alone over the same numbers, in
float32 and in memory already, in the same slices on the same number of threads. They are measured in turn; shown are
the medians of each and of the rounds' ratios: other people use the machine. "File" is a whole `write_gguf` to the disk,
in a process of its own. Sizes of the whole 8B follow from its tensors' types, beside those in llama.cpp's
tools/quantize/README.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from twinctl.gguf.checkpoint import stored_tensors
from twinctl.gguf.encoding import _SLICE, Tensor, available_cores, encoded
from twinctl.gguf.ggml import encode
from twinctl.gguf.quant_types import QUANTS, ModelTraits, find_quant
from twinctl.gguf.writer import write_gguf

LLAMA_CPPS = {"f16": 14.96, "q8_0": 7.95, "q6_k": 6.14, "q5_k_m": 5.33, "q4_k_m": 4.58, "q3_k_m": 3.74}  # GiB
LAYERS, HIDDEN, FEED_FORWARD, HEADS, KEYS, VOCABULARY = 32, 4096, 14336, 32, 8, 128_256
HEAD = HIDDEN // HEADS
SLICES = 20  # for each thread


def shapes(layers: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Each tensor: transformers' name, GGUF's, and its shape."""
    yield "model.embed_tokens.weight", "token_embd.weight", (VOCABULARY, HIDDEN)
    yield "model.norm.weight", "output_norm.weight", (HIDDEN,)
    yield "lm_head.weight", "output.weight", (VOCABULARY, HIDDEN)
    of_a_layer = {
        "input_layernorm": ("attn_norm", (HIDDEN,)),
        "self_attn.q_proj": ("attn_q", (HIDDEN, HIDDEN)),
        "self_attn.k_proj": ("attn_k", (KEYS * HEAD, HIDDEN)),
        "self_attn.v_proj": ("attn_v", (KEYS * HEAD, HIDDEN)),
        "self_attn.o_proj": ("attn_output", (HIDDEN, HIDDEN)),
        "post_attention_layernorm": ("ffn_norm", (HIDDEN,)),
        "mlp.gate_proj": ("ffn_gate", (FEED_FORWARD, HIDDEN)),
        "mlp.up_proj": ("ffn_up", (FEED_FORWARD, HIDDEN)),
        "mlp.down_proj": ("ffn_down", (HIDDEN, FEED_FORWARD)),
    }
    for layer in range(layers):
        for name, (short, shape) in of_a_layer.items():
            yield f"model.layers.{layer}.{name}.weight", f"blk.{layer}.{short}.weight", shape


def make_model(folder: Path, layers: int) -> None:
    """config.json, a tokenizer of bytes, and one safetensors file of random weights, written part by part."""
    rope = {"rope_type": "default", "rope_theta": 500_000.0}
    config: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rope_parameters": rope}
    config |= {"hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "num_hidden_layers": layers}
    config |= {"num_attention_heads": HEADS, "num_key_value_heads": KEYS, "vocab_size": VOCABULARY}
    config |= {"max_position_embeddings": 131_072, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    _make_tokenizer(folder)
    header, offset = {}, 0
    for name, _, shape in shapes(layers):
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * prod(shape)]}
        offset += 2 * prod(shape)
    text = json.dumps(header).encode()
    dice = np.random.default_rng(0).standard_normal(_SLICE, np.float32) * 0.02
    numbers = (dice.view(np.uint32) >> 16).astype(np.uint16)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, shape in shapes(layers):
            for begin in range(0, prod(shape), _SLICE):
                file.write(np.roll(numbers, begin % 997)[: min(_SLICE, prod(shape) - begin)].data)


def _make_tokenizer(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    from twinctl.gguf.pretokenizers import _DIGITS_BY_THREE

    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({**vocabulary, "ab": len(vocabulary)}, [("a", "b")], ignore_merges=True))
    cut = pre_tokenizers.Split(Regex(_DIGITS_BY_THREE), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, letters])
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")


def speeds(folder: Path, quant: str, layers: int, threads: int) -> tuple[float, float]:
    """Elements a second of ours and of the function alone, over the same layers."""
    mix, model, stored = find_quant(quant), ModelTraits(layers, tied=False), stored_tensors(folder)
    matrices = [each for each in shapes(layers) if each[1].startswith("blk.") and len(each[2]) == 2]
    slices = sum(prod(shape) for _, _, shape in matrices) // layers // _SLICE
    measured = min(layers, -(-threads * SLICES // slices))
    tensors = [
        Tensor(name, shape, mix.type_of(name, shape, model), stored[theirs])
        for theirs, name, shape in matrices
        if int(name.split(".")[1]) < measured
    ]
    elements = sum(prod(tensor.shape) for tensor in tensors)
    numbers = [(tensor.kind, tensor.source.widen(part)) for tensor in tensors for part in _parts(tensor)]
    begin = time.perf_counter()
    for _ in encoded(tensors, threads):
        pass
    middle = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda job: encode([job[1]], job[1].shape, job[0]), numbers):
            pass
    return elements / (middle - begin), elements / (time.perf_counter() - middle)


def _parts(tensor: Tensor) -> Iterator[Any]:
    step = _SLICE // tensor.shape[1]
    for begin in range(0, tensor.source.rows, step):
        yield tensor.source.read(begin, min(begin + step, tensor.source.rows))


def whole(folder: Path, quant: str, threads: int) -> dict[str, float]:
    """Seconds and the peak of resident memory of `write_gguf`, in a process of its own."""
    command = [sys.executable, __file__, "--one", quant, "--threads", str(threads), "--folder", str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def one(folder: Path, quant: str, threads: int) -> None:
    """What `whole` runs."""
    begin = time.perf_counter()
    written = write_gguf(folder, folder / f"{quant}.gguf", quant, name="x", threads=threads)
    seconds = time.perf_counter() - begin
    written.path.unlink()
    # getrusage would tell the parent's, which this process was for a moment.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak": peak}))


def whole_size(quant: str) -> int:
    """Bytes of the whole 8B's tensors."""
    mix, model = find_quant(quant), ModelTraits(LAYERS, tied=False)
    tensors = (Tensor(name, shape, mix.type_of(name, shape, model), np.empty(0)) for _, name, shape in shapes(LAYERS))
    return sum(tensor.size for tensor in tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--quant", nargs="+", default=list(QUANTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the model and the files lie meanwhile")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return one(asked.folder, asked.one, asked.threads)
    if asked.folder:
        asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        make_model(Path(folder), asked.layers)
        table(Path(folder), asked)
    return None


def table(folder: Path, asked: argparse.Namespace) -> None:
    print(f"Llama 3.1 8B's shape, {asked.layers} of {LAYERS} layers, {asked.threads} threads, {asked.rounds} rounds")
    print("quant   M elements/s: ours  the function  ratio | file: seconds  peak MiB | 32 layers: GiB  llama.cpp")
    for quant in asked.quant:
        shown = f"{'-':>18}  {'-':>12}  {'-':>5}"
        if find_quant(quant).is_quantised:
            rounds = [speeds(folder, quant, asked.layers, asked.threads) for _ in range(asked.rounds)]
            mine, alone = (median(each) for each in zip(*rounds, strict=True))
            ratio = median(ours / theirs for ours, theirs in rounds)
            shown = f"{mine / 1e6:18.1f}  {alone / 1e6:12.1f}  {ratio:5.2f}"
        file = whole(folder, quant, asked.threads)
        known = f"{LLAMA_CPPS[quant]:9.2f}" if quant in LLAMA_CPPS else f"{'-':>9}"
        print(
            f"{quant:8} {shown} | {file['seconds']:13.1f}  {file['peak'] / 2**20:8.0f} |"
            f" {whole_size(quant) / 2**30:14.2f}  {known}",
            flush=True,
        )


if __name__ == "__main__":
    main()
