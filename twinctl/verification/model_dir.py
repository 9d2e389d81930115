"""Whether a merged model's folder is a whole and plain model: what transformers, vLLM and others need to load it.

What must stay true: safetensors only, with no tensor of an adapter's; every file that the index names is there; the
config says what a loader without our knowledge must know.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from twinctl.errors import TwinctlError
from twinctl.gguf.checkpoint import read_json, stored_tensors

REQUIRED_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
SETTINGS = ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "eos_token_id")
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_OF_ADAPTERS = ("lora", "base_layer", "modules_to_save")


def model_dir_problems(folder: Path, *, quantised: bool = False) -> list[str]:
    """What is wrong with it, in words; nothing for a whole one, whose config names a quantisation if it has one."""
    found = [f"{name} is missing" for name in REQUIRED_FILES if not (folder / name).is_file()]
    found += [f"{path.name} is no safetensors file" for path in sorted(folder.iterdir()) if path.suffix in PICKLED]
    try:
        names = _names(folder) if quantised else [*stored_tensors(folder)]
        config = read_json(folder / "config.json")
    except TwinctlError as error:
        return [*found, error.message]
    except SafetensorError as error:
        return [*found, f"its safetensors are damaged: {error}"]
    adapters = [name for name in names if any(part in name for part in _OF_ADAPTERS)]
    found += [f"{len(adapters)} tensors are an adapter's, such as {adapters[0]}"] if adapters else []
    unsaid = [name for name in SETTINGS if config.get(name) is None]
    unsaid += [] if config.get("dtype") or config.get("torch_dtype") else ["dtype"]
    found += [f"config.json does not say {', '.join(unsaid)}"] if unsaid else []
    if bool(config.get("quantization_config")) != quantised:
        found.append(f"config.json names {'no' if quantised else 'a'} quantisation")
    return found


def _names(folder: Path) -> list[str]:
    """The tensors of a quantised model's files, of whatever type. Raises SafetensorError."""
    found: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            found += tensors.keys()
    return found
