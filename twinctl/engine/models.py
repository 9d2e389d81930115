"""Models from local folders, through Unsloth.

What must stay true: a model is loaded from the resolved folder and from nowhere else (`use_exact_model_name`: Unsloth
would swap names for its own pre-quantised repositories); an adapter meets the very base that it was trained on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinctl.engine.oom import is_oom, refuse_partly_loaded
from twinctl.errors import EngineError, UpstreamError
from twinctl.wording import GIB, first_line
from twinctl.workspace.files import write_json


def load_model(
    unsloth: Any,
    folder: Path,
    *,
    max_length: int,
    dtype: str = "auto",
    method: str = "lora",
    seed: int = 0,
    checkpointing: bool = False,
    hint: str = "use a smaller model",
) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder: a base, an adapter whose config names its base, or a merged model.

    `method` decides the weights: 4-bit for qlora, trainable for full, else 16-bit. Raises EngineError if memory
    does not suffice, with the `hint`.
    """
    import torch

    try:
        model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
            model_name=str(folder),
            max_seq_length=max_length,
            dtype=None if dtype == "auto" else getattr(torch, dtype),
            load_in_4bit=method == "qlora",
            load_in_16bit=method != "qlora",
            full_finetuning=method == "full",
            use_gradient_checkpointing="unsloth" if checkpointing else False,
            use_exact_model_name=True,
            trust_remote_code=False,
            random_state=seed,
        )
        refuse_partly_loaded(model)
    except Exception as error:
        if not is_oom(error):
            raise
        raise EngineError(f"not enough memory to load the model: {first_line(error)}", hint) from error
    ensure_pad_token(tokenizer)
    return model, tokenizer


def ensure_pad_token(tokenizer: Any) -> None:
    """Use a spare special token as pad token, if there is no pad token or it is EOS.

    twinctl's labels are prepared, so EOS is learnt either way; a later training from the saved tokenizer might mask it.
    """
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return
    named = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    spare = [token for token in special if token not in named]
    if spare:
        tokenizer.pad_token = min(
            spare, key=lambda token: ("pad" not in token.lower(), "reserved" not in token.lower())
        )


def set_chat_template(tokenizer: Any, template: str, eos: str | None) -> None:
    """Set the template of the tokens and its stop token, which are then saved with the tokenizer."""
    tokenizer.chat_template = template
    if eos is not None:
        tokenizer.eos_token = eos


def stop_at(config: Any, eos_id: int) -> None:
    """Make the stop token of the training the first of the config's; those of the base stay."""
    before = config.eos_token_id
    others = before if isinstance(before, list) else [] if before is None else [before]
    stops = list(dict.fromkeys([eos_id, *others]))
    config.eos_token_id = stops if len(stops) > 1 else eos_id


@contextmanager
def adapter_with_base(adapter: Path, base: Path) -> Iterator[Path]:
    """A folder with the adapter, whose config names the folder of its base; the stored one has the public name."""
    if not (adapter / "adapter_config.json").is_file():
        raise UpstreamError(f"{adapter} holds no adapter", "make it again: twinctl train --restart")
    with tempfile.TemporaryDirectory(prefix="twinctl-adapter-") as name:
        for item in adapter.iterdir():
            if item.name != "adapter_config.json":
                Path(name, item.name).symlink_to(item.resolve())
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = str(base)
        Path(name, "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        yield Path(name)


def save_model(model: Any, tokenizer: Any, out: Path, *, base_name: str) -> None:
    """Save the adapter, or the whole model, and its tokenizer to a folder: no path of this machine is in it, and equal
    weights give equal bytes.
    """
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's card names the base by this machine's path
    config = out / "adapter_config.json"
    if config.exists():
        stored = json.loads(config.read_text(encoding="utf-8"))
        stored["base_model_name_or_path"] = base_name
        stored["target_modules"] = sorted(stored["target_modules"])  # a set there: its order differs from run to run
        write_json(config, stored)
    shutil.rmtree(out / "__pycache__", ignore_errors=True)


def load_adapter_weights(model: Any, adapter: Path) -> None:
    """Load a stored adapter's weights into a model with a new one. Raises EngineError if their shapes differ."""
    from peft import load_peft_weights, set_peft_model_state_dict

    result = set_peft_model_state_dict(model, load_peft_weights(str(adapter), device="cpu"))
    mismatches = [*result.unexpected_keys, *(name for name in result.missing_keys if "lora_" in name)]
    if mismatches:
        raise EngineError(
            f"the adapter to train on from has not the weights of this one: {', '.join(mismatches[:3])}",
            "train from the base instead: leave out --from",
        )


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors in the folder's safetensors files, of whatever type. Raises SafetensorError."""
    from safetensors import safe_open

    names: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            names += tensors.keys()
    return names


def free_memory() -> None:
    """Free the memory of models that nothing refers to any more."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_memory_gib() -> float:
    """The most memory this process held, in GiB: the GPU's where there is one, else resident memory."""
    import torch

    if torch.cuda.is_available():
        return round(int(torch.cuda.max_memory_reserved()) / GIB, 3)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
