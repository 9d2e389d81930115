"""Another family: by llama.cpp's programs where they are, refused before any work where they are not.

Programs of the same names stand in for them here. By hand, the real ones (of llama-cpp-python 0.3.36's sources) made
files of a Llama with biases, which is not ours, through UNSLOTH_LLAMA_CPP_PATH: KL 6.9e-8 in f16, 8.1e-3 in q4_k_m.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinctl.errors import ConfigError, EngineError
from twinctl.gguf.llama_cpp_fallback import FOLDER, Tools, require_family, write_by_llama_cpp

OURS: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "vocab_size": 640,
    "max_position_embeddings": 512,
}
PHI = {**OURS, "architectures": ["Phi3ForCausalLM"]}
CONVERTER = """import sys
from pathlib import Path
words = sys.argv[1:]
if "broken" in words[0]:
    sys.exit("no such model")
Path(words[words.index("--outfile") + 1]).write_text("|".join(words))
"""
QUANTIZER = """#!/bin/sh
test -s "$1" && echo "$3" > "$2"
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Both programs in a folder as llama.cpp's is."""
    folder = tmp_path / "llama.cpp"
    (folder / "build" / "bin").mkdir(parents=True)
    found = Tools(folder / "convert_hf_to_gguf.py", folder / "build" / "bin" / "llama-quantize")
    found.converter.write_text(CONVERTER)
    found.quantizer.write_text(QUANTIZER)
    found.quantizer.chmod(0o755)
    monkeypatch.setenv(FOLDER, str(folder))
    return found


def test_ours_need_nobody(tools: Tools, llama_folder: tuple[Path, Any]) -> None:
    config = json.loads((llama_folder[0] / "config.json").read_text())
    assert require_family(config, llama_folder[0]) is None
    assert require_family(OURS) is None


def test_another_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match="Phi3ForCausalLM") as caught:
        require_family(PHI)
    assert FOLDER in caught.value.hint and "llama-quantize" in caught.value.hint


@pytest.mark.parametrize("changes", [{"attention_bias": True}, {"rope_scaling": {"type": "longrope"}}])
def test_a_variant_is_another_family(changes: dict[str, Any], tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_family({**OURS, **changes}) == tools
    monkeypatch.delenv(FOLDER)
    with pytest.raises(ConfigError):
        require_family({**OURS, **changes})


def test_so_is_a_tokenizer_that_llama_cpp_runs_differently(
    tools: Tools, tmp_path: Path, llama_folder: tuple[Path, Any]
) -> None:
    document = json.loads((llama_folder[0] / "tokenizer.json").read_text())
    document["model"]["type"] = "Unigram"
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    (tmp_path / "tokenizer_config.json").write_bytes((llama_folder[0] / "tokenizer_config.json").read_bytes())
    assert require_family(OURS, tmp_path) == tools


def test_half_of_them_is_none(tools: Tools) -> None:
    tools.quantizer.unlink()
    with pytest.raises(ConfigError, match="Phi3"):
        require_family(PHI)


def test_they_are_found_on_the_path(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER)
    monkeypatch.setenv("PATH", f"{tools.converter.parent}:{tools.quantizer.parent}")
    assert require_family(PHI) == tools


@pytest.mark.parametrize("quant", ["bf16", "q4_k_m"])
def test_a_file_is_made_and_nothing_else(quant: str, tools: Tools, tmp_path: Path) -> None:
    target = tmp_path / "out" / "x.gguf"
    write_by_llama_cpp(tmp_path / "hf", target, quant, name="my twin", tools=tools)
    assert [path.name for path in target.parent.iterdir()] == ["x.gguf"]
    found = target.read_text()
    assert found == "Q4_K_M\n" if quant == "q4_k_m" else found.endswith("--outtype|bf16|--model-name|my twin")


def test_a_failure_says_what_the_program_said_and_keeps_what_was_there(tools: Tools, tmp_path: Path) -> None:
    target = tmp_path / "x.gguf"
    target.write_text("the one before")
    with pytest.raises(EngineError, match=r"convert_hf_to_gguf\.py failed: no such model"):
        write_by_llama_cpp(tmp_path / "broken", target, "q4_k_m", name="x", tools=tools)
    with pytest.raises(ConfigError, match="q9"):
        write_by_llama_cpp(tmp_path / "hf", target, "q9", name="x", tools=tools)
    assert target.read_text() == "the one before" and not list(tmp_path.glob(".x*"))
