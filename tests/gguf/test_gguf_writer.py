"""What the file says of itself, what is refused before any work, and that a failure leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize

from twinctl.errors import CheckFailed, ConfigError, TwinctlError, UpstreamError, explained
from twinctl.gguf import encoding, writer
from twinctl.gguf.writer import Provenance, write_gguf


@pytest.fixture
def model_copy(llama_folder: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy of the model folder, for the test to damage."""
    return Path(shutil.copytree(llama_folder[0], tmp_path / "hf"))


def _edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


SPECIAL = {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "eot": "<|end_of_text|>", "padding": "<|pad|>"}


def test_metadata(llama_folder: tuple[Path, Any], tmp_path: Path) -> None:
    provenance = Provenance("llama3.1", base_model="Llama 3.1", entries={"run": "../../etc", "empty": ""})
    written = write_gguf(llama_folder[0], tmp_path / "m.gguf", "q8_0", name="../twin", provenance=provenance)
    fields = _read(written.path)
    expected = {
        "general.architecture": "llama",
        "general.name": "../twin",
        "general.license": "llama3.1",
        "general.base_model.0.name": "Llama 3.1",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "twinctl.run": "../../etc",
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 256,
        "llama.feed_forward_length": 512,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 32,
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": 640,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.eos_token_id": fields["tokenizer.ggml.eot_token_id"],
    }
    assert {key: fields.get(key) for key in expected} == expected
    named = {role: fields["tokenizer.ggml.tokens"][fields[f"tokenizer.ggml.{role}_token_id"]] for role in SPECIAL}
    assert named == SPECIAL and len(fields["tokenizer.ggml.merges"]) > 100
    assert fields["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert "message.content" in fields["tokenizer.chat_template"] and "twinctl.empty" not in fields
    assert (written.size, written.parameters) == (written.path.stat().st_size, llama_folder[1].num_parameters())


def test_types_of_tensors(llama_folder: tuple[Path, Any], tmp_path: Path) -> None:
    written = write_gguf(llama_folder[0], tmp_path / "m.gguf", "q8_0", name="x")
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(written.path).tensors}
    assert len(types) == written.tensors
    assert types["token_embd.weight"] == types["blk.1.attn_q.weight"] == GGMLQuantizationType.Q8_0
    assert types["blk.0.attn_norm.weight"] == types["rope_freqs.weight"] == GGMLQuantizationType.F32


def test_bf16_is_kept_bit_for_bit(llama_folder: tuple[Path, Any], tmp_path: Path) -> None:
    written = write_gguf(llama_folder[0], tmp_path / "m.gguf", "bf16", name="x")
    tensors = {tensor.name: tensor for tensor in GGUFReader(written.path).tensors}
    found = dequantize(tensors["blk.1.ffn_down.weight"].data, GGMLQuantizationType.BF16)
    np.testing.assert_array_equal(found, llama_folder[1].model.layers[1].mlp.down_proj.weight.detach().numpy())


def test_rows_that_blocks_cannot_fill_become_f16(
    tmp_path: Path, save_model: Callable[..., Any], run_gguf: Any, divergence: Any
) -> None:
    model = save_model(tmp_path / "hf", intermediate_size=500)
    written = write_gguf(tmp_path / "hf", tmp_path / "m.gguf", "q8_0", name="x")
    types = {tensor.name: tensor.tensor_type for tensor in GGUFReader(written.path).tensors}
    assert types["blk.0.ffn_down.weight"] == GGMLQuantizationType.F16
    assert types["blk.0.ffn_up.weight"] == GGMLQuantizationType.Q8_0
    assert divergence(model, run_gguf(written.path)) < 1e-3


@pytest.mark.parametrize("quant", ["q8_0", "bf16", "f16"])
def test_slices_do_not_change_a_byte(
    quant: str, llama_folder: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_gguf(llama_folder[0], tmp_path / "whole.gguf", quant, name="x")
    monkeypatch.setattr(encoding, "_SLICE", 1000)
    monkeypatch.setattr(encoding, "_PART", 300)
    sliced = write_gguf(llama_folder[0], tmp_path / "sliced.gguf", quant, name="x")
    assert sliced.path.read_bytes() == whole.path.read_bytes()


def test_memory_holds_one_tensor(
    tmp_path: Path, save_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "hf", num_hidden_layers=16, hidden_size=512, intermediate_size=1024)
    total = 2 * model.num_parameters()
    largest = 2 * model.model.layers[0].mlp.down_proj.weight.numel()
    del model
    monkeypatch.setattr(encoding, "_SLICE", 1 << 14)
    tracemalloc.start()
    try:
        write_gguf(tmp_path / "hf", tmp_path / "m.gguf", "f16", name="x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * largest < total / 10


def test_progress_ends_at_the_total(
    llama_folder: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_SLICE", 10_000)
    calls: list[tuple[int, int]] = []
    written = write_gguf(llama_folder[0], tmp_path / "m.gguf", "f16", name="x", progress=lambda *at: calls.append(at))
    assert calls == sorted(calls) and 100 < len(calls) <= 201
    assert calls[-1][0] == calls[-1][1] <= written.size


GEMMA = {"architectures": ["Gemma3ForCausalLM"], "hidden_activation": "gelu_pytorch_tanh", "head_dim": 32}
CONFIGS: dict[str, tuple[dict[str, Any], type[TwinctlError], str]] = {
    "architecture": ({"architectures": ["GPT2LMHeadModel"]}, ConfigError, "GPT2LMHeadModel"),
    "no architecture": ({"architectures": None}, ConfigError, r"architecture \[\]"),
    "attention bias": ({"attention_bias": True}, ConfigError, "attention_bias = True"),
    "mlp bias": ({"mlp_bias": True}, ConfigError, "mlp_bias = True"),
    "activation": ({"hidden_act": "gelu"}, ConfigError, "hidden_act = 'gelu'"),
    "window": ({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True}, ConfigError, "use_sliding_window"),
    "quantised": ({"quantization_config": {"bits": 4}}, ConfigError, "quantised already"),
    "scaling": ({"rope_parameters": {"rope_type": "dynamic"}}, ConfigError, "dynamic"),
    "missing number": ({"num_hidden_layers": None}, UpstreamError, "num_hidden_layers is None"),
    "another shape": ({"intermediate_size": 768}, UpstreamError, "config.json implies"),
    "more layers": ({"num_hidden_layers": 3}, UpstreamError, r"no tensor 'model\.layers\.2\."),
    "fewer layers": ({"num_hidden_layers": 1}, ConfigError, r"no place for .*model\.layers\.1\."),
    "Gemma's layers": ({**GEMMA, "layer_types": ["full_attention"] * 2}, ConfigError, "each sixth layer"),
    "Gemma's scale": ({**GEMMA, "query_pre_attn_scalar": 168}, ConfigError, "query_pre_attn_scalar = 168, not 32"),
    "Gemma's caps": ({**GEMMA, "final_logit_softcapping": 30.0}, ConfigError, "final_logit_softcapping = 30.0"),
    "tied, and two heads": ({"tie_word_embeddings": True}, UpstreamError, "the two differ"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_refused_before_any_work(what: str, model_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, error, match = CONFIGS[what]
    _edit(model_copy / "config.json", **changes)
    monkeypatch.setattr(writer, "encoded", pytest.fail)
    with pytest.raises(error, match=match):
        write_gguf(model_copy, tmp_path / "out" / "m.gguf", "f16", name="x")
    assert not (tmp_path / "out").exists()


def test_unknown_quant_is_refused(model_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="q9_9"):
        write_gguf(model_copy, tmp_path / "m.gguf", "q9_9", name="x")


def test_copy_of_tied_embeddings_is_left_out(tmp_path: Path, save_model: Callable[..., Any]) -> None:
    from safetensors.torch import load_file, save_file

    model = save_model(tmp_path / "hf", tie_word_embeddings=True)
    path = tmp_path / "hf" / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, path)
    written = write_gguf(tmp_path / "hf", tmp_path / "m.gguf", "f16", name="x")
    assert "output.weight" not in {tensor.name for tensor in GGUFReader(written.path).tensors}
    assert written.parameters == model.num_parameters()


def _spoil(folder: Path, value: float) -> None:
    """Put one number into the last shard that holds a down projection."""
    import torch
    from safetensors.torch import load_file, save_file

    name = "model.layers.1.mlp.down_proj.weight"
    shard = folder / json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][name]
    tensors = load_file(shard)
    tensors[name][3, 5] = torch.tensor(value)
    save_file(tensors, shard)


@pytest.mark.parametrize(("value", "match"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (1e5, "F16")])
def test_numbers_that_do_not_fit_fail_and_leave_what_was_there(
    value: float, match: str, model_copy: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "m.gguf"
    target.parent.mkdir()
    target.write_text("the one before")
    _spoil(model_copy, value)
    with pytest.raises(CheckFailed, match=match):
        write_gguf(model_copy, target, "f16", name="x")
    assert [path.name for path in target.parent.iterdir()] == ["m.gguf"]
    assert target.read_text() == "the one before"


def test_a_full_disk_is_said_before_and_during(
    model_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "m.gguf"

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(GGUFWriter, "write_padding", full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_gguf(model_copy, target, "f16", name="x")
    assert isinstance(explained(caught.value), ConfigError)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(ConfigError, match="MiB free, and the file needs"):
            write_gguf(model_copy, target, "f16", name="x")
    assert list(target.parent.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from twinctl.gguf.writer import write_gguf
def halfway(done, total):
    if done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)
write_gguf(Path(sys.argv[1]), Path(sys.argv[2]), "f16", name="x", progress=halfway)
"""


def test_a_kill_leaves_no_file_under_the_final_name(model_copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "m.gguf"
    environment = {**os.environ, "PYTHONPATH": str(Path(writer.__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(model_copy), str(target)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in target.parent.iterdir()] == [".m.gguf.partial"]
    write_gguf(model_copy, target, "f16", name="x")
    assert [path.name for path in target.parent.iterdir()] == ["m.gguf"]


def test_the_room_needs_no_torch_and_costs_nothing_to_name() -> None:
    code = "import sys, twinctl.gguf; assert 'gguf' not in sys.modules and 'numpy' not in sys.modules; "
    code += "import twinctl.gguf.writer; assert not {'torch', 'transformers'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(writer.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
