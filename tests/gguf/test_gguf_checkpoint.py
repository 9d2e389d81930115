"""Weights are read exactly as stored, and a folder that is damaged is refused with the file's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinctl.errors import ConfigError, UpstreamError
from twinctl.gguf.checkpoint import stored_tensors
from twinctl.gguf.writer import write_gguf

INDEX = "model.safetensors.index.json"


@pytest.fixture
def model_copy(llama_folder: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy of the model folder, for the test to damage."""
    return Path(shutil.copytree(llama_folder[0], tmp_path / "hf"))


def _some_shard(folder: Path) -> Path:
    return sorted(folder.glob("*.safetensors"))[1]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_are_exact(dtype: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensor = torch.randn(5, 7).to(getattr(torch, dtype))
    save_file({"w": tensor, "v": tensor[0].clone()}, tmp_path / "model.safetensors")
    found = stored_tensors(tmp_path)["w"]
    np.testing.assert_array_equal(found.widen(found.read()), tensor.float().numpy())


def test_shards_are_one_model(llama_folder: tuple[Path, Any]) -> None:
    folder, model = llama_folder
    found = stored_tensors(folder)
    assert len({tensor.file for tensor in found.values()}) > 1
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tuple(weight.shape) for name, weight in model.state_dict().items()
    }


def test_one_file_wins_over_an_index_left_behind(model_copy: Path) -> None:
    shutil.copy(_some_shard(model_copy), model_copy / "model.safetensors")
    assert {tensor.file.name for tensor in stored_tensors(model_copy).values()} == {"model.safetensors"}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_json(path: Path) -> None:
    path.write_bytes((5).to_bytes(8, "little") + b"hello" + path.read_bytes())


def _wrong_extent(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))


@pytest.mark.parametrize("damage", [_cut, _cut_header, _empty, _no_json, _wrong_extent, Path.unlink])
def test_damage_is_named_and_leaves_no_file(damage: Callable[[Path], Any], model_copy: Path, tmp_path: Path) -> None:
    shard = _some_shard(model_copy)
    damage(shard)
    with pytest.raises(UpstreamError, match=shard.name):
        write_gguf(model_copy, tmp_path / "out" / "m.gguf", "f16", name="x")
    assert not (tmp_path / "out").exists()


def test_a_file_that_ends_early_after_the_check(model_copy: Path) -> None:
    shard = _some_shard(model_copy)
    last = max((t for t in stored_tensors(model_copy).values() if t.file == shard), key=lambda tensor: tensor.offset)
    _cut(shard)
    with pytest.raises(UpstreamError, match="ends inside"):
        last.read()


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"model\.safetensors is missing"):
        stored_tensors(tmp_path)


def test_names_in_an_index_are_never_paths(model_copy: Path, tmp_path: Path) -> None:
    shard = _some_shard(model_copy)
    outside = shutil.move(shard, tmp_path / "outside.safetensors")
    assert Path(outside).is_file()
    text = (model_copy / INDEX).read_text().replace(shard.name, "../outside.safetensors")
    (model_copy / INDEX).write_text(text)
    with pytest.raises(UpstreamError, match=r"shard that is not there: '\.\./outside"):
        stored_tensors(model_copy)


def test_a_quantised_checkpoint_is_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2, 2, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="type U8"):
        stored_tensors(tmp_path)
