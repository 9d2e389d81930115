"""A merged folder is the adapter on its base, whole and plain; one that is not merged, or twice, is told from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.verification import BASE, TinyTwin
from twinctl.errors import CheckFailed
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.verification import verify
from twinctl.verification.reference import ModelOutput, Reference
from twinctl.verification.verify import prove_gguf, prove_merged


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks the folder here: a process that imports torch again takes ten seconds."""
    from twinctl.verification.reference_model import ask_model_dir

    def ask(model: Path, reference: Path, *, trained: TrainedModel | None, log: Path, progress: Any) -> ModelOutput:
        assert trained is None
        return ask_model_dir(model, Reference.load(reference), seconds=240, progress=lambda done, total: None)

    monkeypatch.setattr(verify, "ask_merged", ask)


def test_a_sound_merge_passes_in_a_process_of_its_own(tiny_twin: TinyTwin, tmp_path: Path) -> None:
    """The trained model is asked there too, and says what it said in this process."""
    found = prove_merged(
        tiny_twin.merged,
        tmp_path / "reference",
        trained=tiny_twin.trained,
        log=tiny_twin.log,
        report=tmp_path / "proof.json",
    )
    report = json.loads((tmp_path / "proof.json").read_text())
    assert report == found.document()
    found = report["checks"]
    assert found["distributions"]["kl"] < 2e-5 and found["distributions"]["top1"] > 0.995
    assert found["distributions"]["moved"] > 100 * found["distributions"]["kl"]
    assert found["distributions"]["merged"] == pytest.approx(1.0, abs=0.02)
    assert found["answers"]["agreed"] > 0.8 and found["answers"]["ending"] >= 4
    again, before = Reference.load(tmp_path / "reference"), Reference.load(tiny_twin.reference)
    assert (again.rows, again.probes, again.probe_ids) == (before.rows, before.probes, before.probe_ids)
    assert abs(again.log_probs[:, 0] - before.log_probs[:, 0]).max() < 1e-3
    assert before.split == "eval" and {"text", "prompt"}.isdisjoint(json.dumps(report["reference"]))


def _not_merged(folder: Path) -> None:
    shutil.copy(BASE / "model.safetensors", folder)


def _merged_twice(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    base, once = (load_file(place / "model.safetensors") for place in (BASE, folder))
    twice = {name: (2 * each.float() - base[name].float()).to(torch.bfloat16) for name, each in once.items()}
    save_file(twice, folder / "model.safetensors", metadata={"format": "pt"})


def _edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**document, **changes}))

    return edit


def _another_split(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace(r"|\\s*[\\r\\n]+", ""))


def _lora_names(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    tensors[f"{name}.lora_A.weight"] = tensors[name].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "not merged": (_not_merged, r"adapter: what was trained is in it -?0\.\d\d times"),
    "merged twice": (_merged_twice, r"adapter: what was trained is in it [12]\.\d\d times"),
    "stop token in generation_config": (
        _edit("generation_config.json", eos_token_id=2),
        r"stops: the stop token is 1, but generation_config.json has \[2\]",
    ),
    "stop token in config": (_edit("config.json", eos_token_id=[5]), r"but config.json has \[5\]"),
    "stop token in tokenizer": (_edit("tokenizer_config.json", eos_token="<|pad|>"), r"the tokenizer has \[2\]"),
    "rotary": (_edit("config.json", rope_parameters={"rope_type": "default", "rope_theta": 5e5}), "rotary: "),
    "tokenizer": (_another_split, "tokens: .* texts give other tokens"),
    "adapter's tensors": (_lora_names, "1 tensors are an adapter's"),
    "config": (_edit("config.json", eos_token_id=None), "config.json does not say eos_token_id"),
    "cut short": (lambda folder: _cut(folder / "model.safetensors"), "is damaged"),
    "pickle": (lambda folder: (folder / "pytorch_model.bin").touch(), "no safetensors file"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.usefixtures("asked_here")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, tiny_twin: TinyTwin, tmp_path: Path) -> None:
    plant, match = FAULTS[fault]
    folder = Path(shutil.copytree(tiny_twin.merged, tmp_path / "merged"))
    plant(folder)
    with pytest.raises(CheckFailed, match=match):
        prove_merged(folder, tiny_twin.reference, log=tiny_twin.log, report=tmp_path / "proof.json")
    assert not (tmp_path / "proof.json").exists()


@pytest.mark.usefixtures("asked_here")
def test_what_a_failed_proof_measured_is_in_the_log(tiny_twin: TinyTwin, tmp_path: Path) -> None:
    folder, log = Path(shutil.copytree(tiny_twin.merged, tmp_path / "merged")), tmp_path / "log.txt"
    _merged_twice(folder)
    with pytest.raises(CheckFailed):
        prove_merged(folder, tiny_twin.reference, log=log)
    found = json.loads(log.read_text())
    assert found["passed"] is False
    assert found["checks"]["distributions"]["merged"] > 1.25


@pytest.mark.parametrize("fault", ["not merged", "merged twice"])
def test_a_file_of_the_wrong_weights_is_found(fault: str, tiny_twin: TinyTwin, tmp_path: Path) -> None:
    """Also where nobody looked at the merge."""
    from twinctl.gguf.writer import write_gguf

    folder = Path(shutil.copytree(tiny_twin.merged, tmp_path / "merged"))
    FAULTS[fault][0](folder)
    for quant in ("f16", "q8_0", "q3_k_m"):
        written = write_gguf(folder, tmp_path / f"{quant}.gguf", quant, name="twin")
        with pytest.raises(CheckFailed, match=FAULTS[fault][1]):
            prove_gguf(written.path, quant, tiny_twin.reference, log=tiny_twin.log)


@pytest.fixture(scope="module")
def rounded(tiny_twin: TinyTwin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merge in 4 bit, by bitsandbytes."""
    from twinctl.engine.rounding import round_to_4bit

    folder = tmp_path_factory.mktemp("rounded")
    assert round_to_4bit(tiny_twin.merged, folder) > 100
    return folder


@pytest.mark.usefixtures("asked_here")
def test_a_merge_in_4_bit_passes_with_a_limit_of_its_own(tiny_twin: TinyTwin, rounded: Path) -> None:
    found = prove_merged(rounded, tiny_twin.reference, "4bit", log=tiny_twin.log).document()["checks"]["distributions"]
    assert 1e-3 < found["kl"] < 5e-2
    with pytest.raises(CheckFailed, match="names no quantisation"):
        prove_merged(tiny_twin.merged, tiny_twin.reference, "4bit", log=tiny_twin.log)


def test_a_merge_in_4_bit_is_small_and_has_the_tokenizer_of_the_merge(tiny_twin: TinyTwin, rounded: Path) -> None:
    assert (rounded / "model.safetensors").stat().st_size < 0.55 * (
        tiny_twin.merged / "model.safetensors"
    ).stat().st_size
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (rounded / name).read_bytes() == (tiny_twin.merged / name).read_bytes()


@pytest.mark.usefixtures("asked_here")
def test_a_base_in_4_bit_is_not_the_merge(tiny_twin: TinyTwin, tmp_path: Path) -> None:
    from twinctl.engine.rounding import round_to_4bit

    shutil.copytree(tiny_twin.merged, tmp_path / "base")
    _not_merged(tmp_path / "base")
    round_to_4bit(tmp_path / "base", tmp_path)
    with pytest.raises(CheckFailed, match="what was trained is in it"):
        prove_merged(tmp_path, tiny_twin.reference, "4bit", log=tiny_twin.log)


def test_a_cut_file_in_4_bit_is_told(tiny_twin: TinyTwin, rounded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(rounded, tmp_path / "cut")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate((folder / "model.safetensors").stat().st_size - 1)
    with pytest.raises(CheckFailed, match="its safetensors are damaged"):
        prove_merged(folder, tiny_twin.reference, "4bit", log=tiny_twin.log)
