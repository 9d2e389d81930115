"""A sound GGUF file passes in every quantisation, and each fault that people have met is found, by the right check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.verification import TinyTwin, apart, edited, tensor
from twinctl.errors import CheckFailed
from twinctl.gguf.quant_types import QUANTS
from twinctl.verification.limits import LIMITS
from twinctl.verification.verify import prove_gguf

Edit = Callable[[Any], None]
HEADS, KV_HEADS = 4, 2


@pytest.mark.parametrize("quant", [quant for quant in LIMITS if quant in QUANTS])
def test_a_sound_file_passes(quant: str, tiny_twin: TinyTwin, tmp_path: Path) -> None:
    prove_gguf(tiny_twin.file(quant), quant, tiny_twin.reference, log=tiny_twin.log, report=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    found = report["checks"]["distributions"]
    assert report["passed"] and found["positions"] == 3072 and found["longest"] == 512
    assert found["kl"] < LIMITS[quant].kl / 5, "a small model is far from the limit of a large one"
    assert report["checks"]["answers"]["ending"] >= 4, "else the stop test would say nothing"


def _not_interleaved(reader: Any) -> None:
    for layer in range(4):
        for part, heads in (("q", HEADS), ("k", KV_HEADS)):
            rows = tensor(reader, f"blk.{layer}.attn_{part}.weight")
            rows[:] = apart(rows, heads)


def _no_rope_factors(reader: Any) -> None:
    tensor(reader, "rope_freqs.weight")[:] = 1.0  # what llama.cpp takes where the tensor is missing


def _set(key: str, value: Any) -> Edit:
    def edit(reader: Any) -> None:
        reader.fields[key].parts[-1][:] = value

    return edit


def _eos_off_by_one(reader: Any) -> None:
    reader.fields["tokenizer.ggml.eos_token_id"].parts[-1][0] += 1


def _swapped(reader: Any) -> None:
    one, other = (tensor(reader, f"blk.{layer}.attn_v.weight") for layer in (0, 1))
    kept = one.copy()
    one[:], other[:] = other, kept


def _digits_one_by_one(reader: Any) -> None:
    name = reader.fields["tokenizer.ggml.pre"]
    (other,) = {b"smaug-bpe": [b"starcoder"], b"llama-bpe": [b"starcoder"]}[bytes(name.parts[-1])]
    name.parts[-1][:] = list(other)


FAULTS: dict[str, tuple[Edit, str]] = {
    "rows not interleaved": (_not_interleaved, "distributions: the mean KL"),
    "no rope_freqs": (_no_rope_factors, "rotary: .*distributions: the mean KL"),
    "wrong theta": (_set("llama.rope.freq_base", 10_000.0), "rotary: .*distributions: the mean KL"),
    "another pre-tokenizer": (_digits_one_by_one, "tokens: .* texts give other tokens"),
    "swapped tensors": (_swapped, "distributions: the mean KL"),
    "eos off by one": (_eos_off_by_one, "stops: the stop token is 1, but its metadata has .2."),
}


@pytest.mark.parametrize("quant", ["f16", "q8_0", *(["q4_k_m"] if "q4_k_m" in QUANTS else [])])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, quant: str, tiny_twin: TinyTwin, tmp_path: Path) -> None:
    plant, match = FAULTS[fault]
    with edited(tiny_twin.file(quant), tmp_path / "bad.gguf") as reader:
        plant(reader)
    with pytest.raises(CheckFailed, match=match):
        prove_gguf(
            tmp_path / "bad.gguf", quant, tiny_twin.reference, log=tiny_twin.log, report=tmp_path / "report.json"
        )
    assert not (tmp_path / "report.json").exists()


def test_a_file_that_is_cut_short(tiny_twin: TinyTwin, tmp_path: Path) -> None:
    whole = tiny_twin.file("f16").read_bytes()
    for name, size in (("tensors", len(whole) - 5000), ("header", 3000), ("nothing", 0)):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(whole[:size])
        with pytest.raises(CheckFailed, match=path.name):
            prove_gguf(path, "f16", tiny_twin.reference, log=tiny_twin.log)


def test_native_code_that_aborts_is_an_error_and_not_the_end(
    tiny_twin: TinyTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINCTL_TEST_ABORT", "1")
    path = tiny_twin.log.parent / "sitecustomize.py"
    path.write_text("import os\nif os.environ.get('TWINCTL_TEST_ABORT'):\n    os.abort()\n")
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(CheckFailed, match=r"twin-f16\.gguf: the check's process died \(SIGABRT\)"):
        prove_gguf(tiny_twin.file("f16"), "f16", tiny_twin.reference, log=tiny_twin.log)
