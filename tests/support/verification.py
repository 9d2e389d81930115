"""A tiny trained model and all that its verification needs, made without a training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twinctl import bundled
from twinctl.data.tokens import EVAL, TRAIN, TokenizedSample, TokensInfo, TokensWriter
from twinctl.gguf.writer import write_gguf
from twinctl.pipeline.model_parts import TrainedModel

BASE = bundled.BASE
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}### Instruction:\n{{ message.content }}"
    "\n\n### Response:\n{% else %}{{ message.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
EOS, LONGEST = "<|end_of_text|>", 512  # twice the context that the base was first made for
STRENGTH = 0.01  # of the adapter's second matrices: enough to move the base, not to make it babble


@dataclass(frozen=True)
class TinyTwin:
    """Folders: the adapter, its merge in float32's precision and bfloat16, and its reference."""

    trained: TrainedModel
    merged: Path
    reference: Path
    log: Path

    def file(self, quant: str) -> Path:
        """The GGUF file of that quantisation, made once."""
        path = self.merged.parent / f"twin-{quant}.gguf"
        if not path.exists():
            write_gguf(self.merged, path, quant, name="twin")
        return path


def write_tokens(folder: Path) -> TokensInfo:
    """The bundled author's rows as prepared tokens; every second one learns its answer alone."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(BASE / "tokenizer.json"))
    rows = [json.loads(line) for line in bundled.AUTHOR_ROWS.read_text(encoding="utf-8").splitlines()]
    folder.mkdir(parents=True)
    info = TokensInfo(TEMPLATE, LONGEST, EOS)
    with TokensWriter(folder, salt="") as writer:
        for at, row in enumerate(rows[:80]):
            question = f"### Instruction:\n{row['instruction']}\n\n### Response:\n"
            before = tokenizer.encode(question).ids
            ids = before + tokenizer.encode(row["output"] + EOS, add_special_tokens=False).ids
            learnt = [len(before), len(ids)] if at % 2 else [0, len(ids)]
            sample = TokenizedSample(ids, learnt, row["instruction"], "author", "bundled", str(at))
            writer.add(EVAL if at < 60 else TRAIN, sample)
    info.write(folder)
    return info


def save_adapter(folder: Path) -> Any:
    """An adapter on the base; gives the adapted model back, in float32."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=STRENGTH)
    model.save_pretrained(folder)
    return model


def save_merged(model: Any, folder: Path) -> None:
    """The model with its adapter merged, in bfloat16, beside the base's tokenizer."""
    import torch

    model.merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, folder)


@contextmanager
def edited(source: Path, target: Path) -> Iterator[Any]:
    """A copy of a GGUF file, open for changes in place."""
    from gguf import GGUFReader

    shutil.copy(source, target)
    reader = GGUFReader(target, "r+")
    yield reader
    reader.data.flush()


def tensor(reader: Any, name: str) -> Any:
    """A tensor's bytes, a row a row."""
    return next(each for each in reader.tensors if each.name == name).data


def apart(rows: Any, heads: int) -> Any:
    """The rows of a projection as they were before they were interleaved."""
    order = np.arange(len(rows)).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)
    return np.asarray(rows)[np.argsort(order)]
