"""Memory that runs out while a model loads or answers, by whatever name: exit 6, and what would need less."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.chat.model_selection import ModelGroup
from twinctl.engine import generation
from twinctl.inference.chat_model import ModelFiles

torch = pytest.importorskip("torch")

ON_CUDA = (  # as torch 2.11 says it
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 3.94 GiB of which 1.20 GiB is free. "
    "Including non-PyTorch memory, this process has 718.00 MiB memory in use. If reserved but unallocated "
    "memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
TOO_LITTLE = [
    torch.OutOfMemoryError(ON_CUDA),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ValueError("Unsloth: base does not fit in GPU memory (cuda:0 has 3.94 GB free), so transformers placed …"),
]


@pytest.fixture
def loading(trained: object, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let Unsloth's loading do this."""

    def stand_in(from_pretrained: Any) -> None:
        model = SimpleNamespace(from_pretrained=from_pretrained, for_inference=lambda loaded: None)
        monkeypatch.setattr(generation, "start_unsloth", lambda device: SimpleNamespace(FastLanguageModel=model))
        monkeypatch.setattr(generation, "_window", lambda folder, length: 512)

    return stand_in


def failing(error: Exception) -> Any:
    def fail(**_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", TOO_LITTLE, ids=lambda error: str(error)[:20])
def test_loading(cli: Cli, loading: Any, error: Exception) -> None:
    loading(failing(error))
    shown = cli("chat", "-p", "x")
    assert shown.code == 6
    assert "error: not enough memory for the model: " in shown.err and re.split(r"\n| Incl", str(error))[0] in shown.err
    assert "→ add --4bit: a quarter of it" in shown.err


def test_loading_in_four_bits_offers_what_is_left(cli: Cli, loading: Any) -> None:
    loading(failing(torch.OutOfMemoryError(ON_CUDA)))
    shown = cli("chat", "-p", "x", "--4bit")
    assert shown.code == 6 and "a smaller model" in shown.err and "--4bit" not in shown.err


def test_weights_that_a_small_gpu_did_not_take(cli: Cli, loading: Any) -> None:
    weights = [SimpleNamespace(device=SimpleNamespace(type=kind)) for kind in ("cuda", "meta")]
    tokenizer = SimpleNamespace(pad_token_id=1, eos_token_id=0)
    loading(lambda **_: (SimpleNamespace(parameters=lambda: iter(weights)), tokenizer))
    shown = cli("chat", "-p", "x")
    assert shown.code == 6 and "the GPU has no room for all of its weights" in shown.err and "--4bit" in shown.err


def test_unsloth_is_told_which_files_and_that_the_model_is_to_answer(
    loading: Any, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = SimpleNamespace(parameters=lambda: iter(()), config=SimpleNamespace())
    tokenizer = SimpleNamespace(pad_token_id=1, eos_token_id=0)
    asked: list[dict[str, Any]] = []
    loading(lambda **how: asked.append(how) or (weights, tokenizer))
    told: list[object] = []
    monkeypatch.setattr(generation.start_unsloth("auto").FastLanguageModel, "for_inference", told.append)
    where: dict[str, Any] = {"model": model, "adapter": None, "base": model, "log": home / "log.txt"}
    speaker = generation.LocalModel.load(ModelFiles(**where, max_length=64, template="{{ x }}", eos="</s>"), "tiny")
    assert told == [weights] and (tokenizer.chat_template, tokenizer.eos_token) == ("{{ x }}", "</s>")
    assert asked[0]["model_name"] == str(model) and asked[0]["use_exact_model_name"]
    assert (speaker.context, asked[0]["max_seq_length"]) == (512, 512)


def test_what_else_fails_in_loading_is_no_lack_of_memory(cli: Cli, loading: Any) -> None:
    loading(failing(RuntimeError("size mismatch for q_proj")))
    shown = cli("chat", "-p", "x")
    assert (shown.code, "--4bit" in shown.err) == (6, False)
    assert "the model cannot be loaded: size mismatch for q_proj" in shown.err and "chat.log" in shown.err


@pytest.mark.heavy
def test_an_answer(cli: Cli, trained: object, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"

    class Model(torch.nn.Module):
        config, generation_config = SimpleNamespace(), SimpleNamespace(eos_token_id=0)
        device, generate = "cpu", staticmethod(failing(torch.OutOfMemoryError(ON_CUDA)))

    speaker = generation.LocalModel(Model(), tokenizer, "tiny")
    monkeypatch.setattr("twinctl.cli.chat.select_models", lambda *_: [ModelGroup(("tiny",), lambda: [speaker])])
    for words in ([], ["--json"]):
        shown = cli("chat", "-p", "x", *words)
        assert shown.code == 6 and "--4bit" in shown.err + shown.out
        assert "1.20 GiB is free." in shown.err + shown.out and "PYTORCH_CUDA" not in shown.err + shown.out
