"""Whether a merged model's folder is a whole and plain model: what transformers, vLLM and others need to load it.

What must stay true: safetensors only, with no tensor of an adapter's; every file that the index names is there; the
config says what a loader without our knowledge must know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from twinctl.engine.models import tensor_names
from twinctl.errors import TwinctlError
from twinctl.gguf.checkpoint import read_model_json, stored_tensors

REQUIRED_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
SETTINGS = ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "eos_token_id")
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_OF_ADAPTERS = ("lora", "base_layer", "modules_to_save")


def model_dir_problems(folder: Path, *, quantised: bool = False) -> list[str]:
    """What is wrong with the folder, in words; empty if nothing is. The config must name a quantisation if, and only
    if, the model is `quantised`.
    """
    problems = [f"{name} is missing" for name in REQUIRED_FILES if not (folder / name).is_file()]
    problems += [f"{path.name} is no safetensors file" for path in sorted(folder.iterdir()) if path.suffix in PICKLED]
    try:
        names = tensor_names(folder) if quantised else list(stored_tensors(folder))
        config = read_model_json(folder / "config.json")
    except TwinctlError as error:
        return [*problems, error.message]
    except SafetensorError as error:
        return [*problems, f"its safetensors are damaged: {error}"]
    return problems + _tensor_problems(names) + _config_problems(config, quantised)


def _tensor_problems(names: list[str]) -> list[str]:
    of_adapters = [name for name in names if any(part in name for part in _OF_ADAPTERS)]
    return [f"{len(of_adapters)} tensors are an adapter's, such as {of_adapters[0]}"] if of_adapters else []


def _config_problems(config: dict[str, Any], quantised: bool) -> list[str]:
    missing = [name for name in SETTINGS if config.get(name) is None]
    if not config.get("dtype") and not config.get("torch_dtype"):
        missing.append("dtype")
    problems = [f"config.json does not say {', '.join(missing)}"] if missing else []
    if bool(config.get("quantization_config")) != quantised:
        problems.append(f"config.json names {'no' if quantised else 'a'} quantisation")
    return problems
