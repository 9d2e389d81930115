"""vLLM serves the merged folder as it is, and says what the trained model says; where there is a vLLM to ask."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.support.verification import LONGEST, TinyTwin
from twinctl.verification.reference import Reference

VLLM = shutil.which("vllm")
pytestmark = pytest.mark.skipif(VLLM is None, reason="no vllm on PATH")
PATIENCE = 600.0  # seconds to its first answer, most of which it imports


@pytest.fixture(scope="module")
def served(tiny_twin: TinyTwin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the merged model, named "twin"."""
    assert VLLM
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        VLLM,
        "serve",
        str(tiny_twin.merged),
        "--served-model-name",
        "twin",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    words += ["--max-model-len", str(LONGEST), "--enforce-eager"]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    with log.open("wb") as sink, subprocess.Popen(words, stdout=sink, stderr=sink, env=_environment()) as process:
        try:
            _await(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _environment() -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **offline}


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-3000:]
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(1)


def _complete(server: str, prompt: list[int], limit: int) -> dict[str, Any]:
    asked = {"model": "twin", "prompt": prompt, "max_tokens": limit, "temperature": 0}
    request = Request(f"{server}/v1/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as answer:
        found: dict[str, Any] = json.load(answer)["choices"][0]
    return found


def test_what_vllm_serves_is_what_was_trained(tiny_twin: TinyTwin, served: str) -> None:
    from transformers import AutoTokenizer

    tokenizer, reference = AutoTokenizer.from_pretrained(tiny_twin.merged), Reference.load(tiny_twin.reference)
    said = [_complete(served, prompt, reference.limit) for prompt in reference.prompts]
    same = 0
    for answer, wanted, ended in zip(said, reference.answers.ids, reference.answers.ended, strict=True):
        if ended:
            assert answer["finish_reason"] == "stop"
        same += answer["text"] == tokenizer.decode(wanted, skip_special_tokens=True)
    assert same >= len(said) / 2, "in bfloat16 an answer may take another turn, but not most"
