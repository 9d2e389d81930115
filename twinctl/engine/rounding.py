"""A 16-bit model's matrices rounded to 4 bit, by transformers and bitsandbytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twinctl.engine.merging import MODEL_SUFFIXES
from twinctl.engine.models import free_memory, tensor_names
from twinctl.engine.unsloth_import import QUIET
from twinctl.errors import EngineError
from twinctl.pipeline.phase import REPORT

NOT_THE_TOKENIZER = (".safetensors", ".index.json", REPORT)


def round_to_4bit(folder: Path, out: Path) -> int:
    """Leave the folder's model in `out`, its matrices but the last in NF4 with their scales rounded too: what QLoRA
    trains on (https://arxiv.org/abs/2305.14314, section 3) and Unsloth's `merged_4bit` writes. The number of tensors.

    Raises EngineError if memory does not suffice.
    """
    os.environ.update(QUIET)
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    device_map = {"": 0} if torch.cuda.is_available() else {"": "cpu"}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", quantization_config=config, device_map=device_map, trust_remote_code=False
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(f"not enough memory to round the model: {error}", "choose -q q4_k_m instead") from error
    model.save_pretrained(out)
    del model
    free_memory()  # the verification loads it again
    for path in folder.iterdir():  # the tokenizer, to the byte
        is_part = path.name.endswith(MODEL_SUFFIXES) and not path.name.endswith(NOT_THE_TOKENIZER)
        if is_part and not (out / path.name).exists():
            shutil.copyfile(path, out / path.name)
    return len(tensor_names(out))
