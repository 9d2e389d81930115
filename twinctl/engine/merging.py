"""An adapter merged into its base's 16-bit weights, by Unsloth's save_pretrained_merged."""

from __future__ import annotations

from pathlib import Path

from twinctl.engine.models import beside_its_base, dress, free_memory, load_model, stop_at
from twinctl.engine.start import start
from twinctl.errors import CheckFailed
from twinctl.phases.base import Attempt, Result

KEPT = (".safetensors", ".json", ".jinja", ".model")


def merge(attempt: Attempt) -> Result:
    """Leave config, tokenizer and 16-bit safetensors in the attempt's `out`. Raises CheckFailed for LoRA names in
    them.
    """
    attempt.stage("loading Unsloth")
    unsloth = start("auto")
    attempt.stage("loading the base and the adapter")
    adapter, base = Path(attempt.inputs["adapter"]), Path(attempt.inputs["base"])
    with beside_its_base(adapter, base) as folder:
        # The 16-bit base also where training used a 4-bit one: merging into rounded weights would lose what was learnt.
        model, tokenizer = load_model(unsloth, folder, max_length=attempt.inputs["max_length"], dtype="auto")
    dress(tokenizer, attempt.inputs["template"], attempt.inputs["eos"])
    stop_at(model.generation_config, tokenizer.eos_token_id)
    attempt.stage("merging")
    model.save_pretrained_merged(str(attempt.out), tokenizer, save_method="merged_16bit")
    del model
    free_memory()  # the proof loads the model again
    _keep_the_model_only(attempt.out)
    names = tensor_names(attempt.out)
    if not names or any("lora" in name for name in names):
        raise CheckFailed(
            "the merged file is not a plain model: it has LoRA tensors or none at all", "twinctl export --restart"
        )
    return Result(metrics={"tensors": len(names)})


def _keep_the_model_only(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file() and not path.name.endswith(KEPT):
            path.unlink()


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors in the folder's safetensors files."""
    from safetensors import safe_open

    found: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            found += tensors.keys()
    return found
