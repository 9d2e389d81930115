"""K-quants are llama.cpp's to the last byte, whatever the threads and slices; and they run.

Where llama-cpp-python is installed (it compiles llama.cpp: `pip install llama-cpp-python`), the slow tests compare each
tensor of a file with what llama_model_quantize makes of the same model.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGML_QUANT_SIZES, GGUFReader

from twinctl.errors import CheckFailed, EngineError
from twinctl.gguf import encoding, ggml
from twinctl.gguf.checkpoint import stored_tensors
from twinctl.gguf.encoding import Tensor, encoded
from twinctl.gguf.quant_types import _T as T
from twinctl.gguf.quant_types import QUANTS
from twinctl.gguf.writer import write_gguf

BLOCKS = [T.Q8_0, T.Q6_K, T.Q5_K, T.Q4_K, T.Q3_K, T.Q4_0, T.Q5_0, T.Q5_1]


def _by_c(values: Any, kind: Any) -> bytes:
    """What the C function makes of a whole matrix in one call."""
    import xllamacpp

    (path,) = Path(xllamacpp.__path__[0]).glob("*.so")
    function = ctypes.CDLL(str(path)).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    block, block_bytes = GGML_QUANT_SIZES[kind]
    target = ctypes.create_string_buffer(values.size // block * block_bytes)
    rows = [ctypes.c_int64(number) for number in (0, *values.shape)]
    written = function(int(kind), values.ctypes.data_as(ctypes.c_void_p), target, *rows, None)
    assert written == len(target.raw)
    return target.raw


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: str(kind.name))
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_are_those_of_ggml(kind: Any, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    matrix = (torch.randn(77, 512) * torch.rand(77, 1) * 0.1).to(torch.bfloat16)
    save_file({"w": matrix}, tmp_path / "model.safetensors")
    monkeypatch.setattr(encoding, "_SLICE", 6000)
    monkeypatch.setattr(encoding, "_PART", 2000)
    tensor = Tensor("w", (77, 512), kind, stored_tensors(tmp_path)["w"])
    found = b"".join(part.tobytes() for _, part in encoded([tensor], threads))
    assert len(found) == tensor.size
    assert found == _by_c(matrix.float().numpy(), kind)


@pytest.mark.parametrize("quant", ["q8_0", "q4_k_m", "q3_k_m"])
def test_threads_change_no_byte(
    quant: str, llama_folder: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = write_gguf(llama_folder[0], tmp_path / "alone.gguf", quant, name="x", threads=1)
    monkeypatch.setattr(encoding, "_SLICE", 20_000)
    monkeypatch.setattr(encoding, "_PART", 3_000)
    together = write_gguf(llama_folder[0], tmp_path / "together.gguf", quant, name="x", threads=5)
    assert together.path.read_bytes() == alone.path.read_bytes()


def test_a_fault_in_one_thread_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save_file

    matrix = torch.zeros(64, 256, dtype=torch.bfloat16)
    matrix[40, 3] = float("nan")
    save_file({"w": matrix}, tmp_path / "model.safetensors")
    monkeypatch.setattr(encoding, "_SLICE", 256)
    done = []
    parts = encoded([Tensor("w", (64, 256), T.Q4_K, stored_tensors(tmp_path)["w"])], threads=2)
    with pytest.raises(CheckFailed, match="'w' holds numbers that are not finite"):
        done.extend(parts)
    assert len(done) == 40


def test_a_runtime_that_cannot_is_named_before_any_work(
    llama_folder: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ggml, "_SIGNATURES", {"ggml_of_another_day": (None,)})
    ggml.load_ggml.cache_clear()
    with pytest.raises(EngineError, match=r"from the package xllamacpp: .*undefined symbol: ggml_of_another_day"):
        write_gguf(llama_folder[0], tmp_path / "out" / "m.gguf", "q4_k_m", name="x")
    assert not (tmp_path / "out").exists()
    write_gguf(llama_folder[0], tmp_path / "m.gguf", "bf16", name="x")
    monkeypatch.undo()
    ggml.load_ggml.cache_clear()


MODELS: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 9},
    "tied": {"num_hidden_layers": 4, "tie_word_embeddings": True},
    "rows of 32": {"intermediate_size": 544, "hidden_size": 288, "num_attention_heads": 9, "num_key_value_heads": 3},
    "qwen2": {"family": "Qwen2", "num_hidden_layers": 17},
    "gemma3": {"family": "Gemma3", "num_hidden_layers": 6, "head_dim": 64, "query_pre_attn_scalar": 64},
}


def _by_llama_cpp(source: Path, target: Path, file_type: int) -> Path:
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, 2
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) == 0
    return target


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_is_that_of_llama_model_quantize(
    model: str, tmp_path: Path, save_model: Callable[..., Any]
) -> None:
    pytest.importorskip("llama_cpp")
    save_model(tmp_path / "hf", **MODELS[model])
    plain = write_gguf(tmp_path / "hf", tmp_path / "f32.gguf", "f32", name="x").path
    for quant, mix in QUANTS.items():
        if mix.is_quantised:
            ours = write_gguf(tmp_path / "hf", tmp_path / "ours.gguf", quant, name="x").path
            theirs = _by_llama_cpp(plain, tmp_path / "theirs.gguf", int(mix.file_type))
            _require_equal(GGUFReader(ours), GGUFReader(theirs), quant)


def _require_equal(ours: GGUFReader, theirs: GGUFReader, quant: str) -> None:
    mine = {tensor.name: tensor for tensor in ours.tensors}
    assert mine.keys() == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        assert mine[tensor.name].tensor_type == tensor.tensor_type, (quant, tensor.name)
        assert mine[tensor.name].data.tobytes() == tensor.data.tobytes(), (quant, tensor.name)
    kept = {key for key in ours.fields if not key.startswith("GGUF.")}  # where its tables begin
    assert kept == {key for key in theirs.fields if not key.startswith("GGUF.")}
    assert all(ours.fields[key].contents() == theirs.fields[key].contents() for key in kept), quant
