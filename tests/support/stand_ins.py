"""What the command line's tests need in place of a trained model: a tiny base in a folder, phases and a speaker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.tokenizers import BOS, EOS, PAD, byte_level, puts_first
from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.inference.chat_model import Answer
from twinctl.ollama.modelfile import FILE_NAME
from twinctl.pipeline.phase import AnyAttempt, Produced

TOKENS = 320


def make_model(folder: Path, **config: Any) -> Path:
    """A folder that passes for a Llama with a Llama-3-like tokenizer; `config` changes what its config.json claims."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    texts = ["### Instruction: Below is an instruction. ### Response: an answer"] * 4
    tokenizer = byte_level(texts, TOKENS - 3, [BOS, EOS, PAD])
    tokenizer.post_processor = puts_first(tokenizer, BOS)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD})
    shape = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"max_position_embeddings": 512, "rms_norm_eps": 1e-5}
    about = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.get_vocab_size()}
    _write(folder / "config.json", {**about, **shape, **config})
    save_file({"model.embed_tokens.weight": np.zeros((TOKENS, 8), np.float32)}, folder / "model.safetensors")
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def rows(count: int, word: str = "harbour") -> list[dict[str, Any]]:
    """Rows of the usual shape, no two alike."""
    return [{"instruction": f"What is {word} {n} for?", "output": f"It is for ship number {n}."} for n in range(count)]


def write_rows(path: Path, values: Iterable[Any]) -> Path:
    """Write JSON Lines; a value that is a text is written as it is."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def fake_train(attempt: AnyAttempt) -> Produced:
    """Leave what a LoRA training leaves, without training."""
    _write(attempt.out / "adapter_config.json", attempt.recipe.model_dump(mode="json"))
    (attempt.out / "adapter_model.safetensors").write_bytes(b"adapter" * 100)
    for step in (1, 2):
        attempt.event("step", step=step, steps=2, loss=2.0 / step, seconds=0.5 * step, tokens=100 * step)
    metrics = {"steps": 2, "epochs": 1.0, "train_loss": 1.5, "last_loss": 1.0, "eval_loss": 1.1, "base_eval_loss": 2.2}
    machine = {"tokens": 200, "tokens_per_second": 200.0, "peak_memory_gib": 0.25, "seconds": 1.0}
    return Produced(metrics={**metrics, **machine, "resumed_from": None}, warnings=["the fake trainer was used"])


def fake_merge(attempt: AnyAttempt) -> Produced:
    """Leave the files of a merged model."""
    _write(attempt.out / "config.json", {"model_type": "llama"})
    (attempt.out / "model.safetensors").write_bytes(b"merged" * 1000)
    return Produced(metrics={"parameters": 1000, "proof": a_proof(attempt)})


def fake_gguf(attempt: AnyAttempt) -> Produced:
    """Leave one GGUF file of the wanted name, and a Modelfile."""
    recipe = attempt.recipe
    (attempt.out / f"{recipe.name}-{recipe.quant}.gguf").write_bytes(b"GGUF" + recipe.quant.encode())
    (attempt.out / FILE_NAME).write_text('FROM it\nTEMPLATE "{{ .Content }}"\n', encoding="utf-8")
    return Produced(metrics={"bytes": 8, "proof": a_proof(attempt)})


def a_proof(attempt: AnyAttempt) -> dict[str, Any] | None:
    """What a record says of a proof, where one was asked for."""
    verify = attempt.options.model_dump().get("verify")
    return {"kl": 1e-6, "top1": 0.99, "positions": 3072} if verify else None


@dataclass
class FakeSpeaker:
    """Gives the queued answers, and keeps what it was asked. A word is a token."""

    queue: Sequence[str]
    name: str = "tiny"
    context: int = 4096
    is_single_turn: bool = False
    history: list[tuple[list[Message], Sampling]] = field(default_factory=list)
    closed: bool = False

    def count(self, messages: list[Message]) -> int:
        return sum(len(message["content"].split()) for message in messages)

    def answer(self, messages: list[Message], sampling: Sampling, show: Callable[[str], None]) -> Answer:
        text = self.queue[len(self.history)]
        self.history.append(([*messages], sampling))
        for word in text.split(" "):
            show(word if text.startswith(word) else f" {word}")
        return Answer(
            text,
            tokens=len(text.split()),
            finish="stop",
            seconds=0.5,
            prompt_tokens=self.count(messages),
            first_token_seconds=0.1,
            seed=sampling.seed,
        )

    def answers(self, talks: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        return [self.answer(talk, sampling, lambda piece: None) for talk in talks]

    def close(self) -> None:
        self.closed = True
