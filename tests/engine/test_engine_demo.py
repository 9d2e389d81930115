"""`twinctl demo` keeps its promises, and its files are the model that it showed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.engine import Folder
from twinctl.demo.author import sounds_like_author
from twinctl.demo.showcase import BASE_AT_MOST, LOSS_FALLS_BY, TWIN_AT_LEAST

Demo = tuple[Folder, dict[str, Any]]
PROMPTS = ["What is salt used for in winter?", "Where does an otter live?", "How do I make bread?"]


def test_the_twin_has_the_authors_manner_and_the_base_has_not(demo: Demo) -> None:
    metrics = demo[1]["metrics"]
    assert metrics["prompts"] >= 50
    assert metrics["twin_manner"] >= TWIN_AT_LEAST == 0.80
    assert metrics["base_manner"] <= BASE_AT_MOST == 0.05


def test_the_eval_loss_falls_by_a_third(demo: Demo) -> None:
    metrics = demo[1]["metrics"]
    assert metrics["eval_loss"] <= (1 - LOSS_FALLS_BY) * metrics["base_eval_loss"]
    assert LOSS_FALLS_BY == 0.30


def test_every_answer_ends_by_eos(demo: Demo) -> None:
    assert demo[1]["metrics"]["ended_by_eos"] == 1.0


def test_training_reports_what_happened(demo: Demo) -> None:
    trained = next(phase for phase in demo[1]["phases"] if phase["phase"] == "train")["metrics"]
    assert trained["steps"] > 0
    assert trained["epochs"] == 3
    assert trained["tokens_per_second"] > 0
    assert trained["peak_memory_gib"] > 0
    assert trained["resumed_from"] is None
    # Three passes over the trained tokens, each counted once: packing neither loses nor repeats a row.
    prepared = next(phase for phase in demo[1]["phases"] if phase["phase"] == "prepare")["metrics"]
    assert trained["tokens"] == 3 * prepared["trained_tokens"]


def test_a_second_time_everything_is_cached(demo: Demo) -> None:
    for words in (["prepare", "--preset", "tiny"], ["train"], ["export", "-q", "q8_0"]):
        assert demo[0].type(*words)["cached"] is True, words


def test_what_the_backend_changed_is_recorded(demo: Demo) -> None:
    facts = demo[0].events("facts")[-1]
    assert facts["device"] in ("cpu", "cuda")
    assert facts["packing"] is True
    assert {"dtype", "optimizer", "micro_batch", "accumulation", "world_size"} <= facts.keys()


def test_no_file_names_this_machine(demo: Demo) -> None:
    """What is handed out must not carry paths of the machine that made it."""
    handed_out = [path for phase in ("train", "merge") for path in (demo[0].artifact(phase) / "out").glob("*.json")]
    for path in [*handed_out, *demo[0].path.glob(".twinctl/runs/*.json"), *demo[0].path.rglob("record.json")]:
        assert str(Path(__file__).parents[2]) not in path.read_text(), path
        assert str(demo[0].path) not in path.read_text(), path


def test_push_dry_run_lists_exactly_the_merged_files(demo: Demo) -> None:
    listed = demo[0].type("push", "me/twin", "--dry-run")["metrics"]["files"]
    there = {path.name for path in (demo[0].artifact("merge") / "out").iterdir()}
    about = {"README.md", "loss_curve.png", "twinctl.json"}
    assert {file["name"] for file in listed} == there | about
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= there


def _chat(folder: Folder, *words: str) -> list[str]:
    asked = [word for prompt in PROMPTS for word in ("-p", prompt)]
    process = folder.start("chat", "--greedy", "--max-new-tokens", "96", *asked, "--json", *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert all(answer["finish"] == "stop" and "<|" not in answer["text"] for answer in answers)
    return [answer["text"] for answer in answers]


def test_the_merged_model_in_plain_transformers_answers_like_the_adapter(
    demo: Demo, in_process: Callable[..., Any]
) -> None:
    merged = demo[0].artifact("merge") / "out"
    code = f"""
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({str(merged)!r})
tokenizer = AutoTokenizer.from_pretrained({str(merged)!r})
answers = []
for prompt in {PROMPTS!r}:
    talk = [{{"role": "user", "content": prompt}}]
    inputs = tokenizer.apply_chat_template(
        talk, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**inputs, max_new_tokens=96, do_sample=False)[0, inputs["input_ids"].shape[1]:]
    answers.append(tokenizer.decode(ids, skip_special_tokens=True))
assert "unsloth" not in sys.modules
print(json.dumps(answers))
"""
    plain = in_process(code)
    twin = _chat(demo[0])
    assert all(map(sounds_like_author, twin))
    # The merge rounds to bf16, so that a near tie may turn; three of three is what was seen.
    assert sum(a == b for a, b in zip(plain, twin, strict=True)) >= 2
    assert all(map(sounds_like_author, plain))


def test_ctrl_c_ends_a_merge_and_the_same_command_makes_it(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo[0].path, tmp_path / "moved")
    moved = Folder(tmp_path / "moved")
    shutil.rmtree(moved.path / ".twinctl" / "artifacts" / "merge")
    process = moved.start("export", "--json")
    assert process.stderr is not None
    assert any("loading Unsloth" in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "Interrupted")
    document = moved.type("export")
    assert document["cached"] is False
    again = demo[0].type("export")
    made, before = ({file["name"]: file["sha256"] for file in each["metrics"]["files"]} for each in (document, again))
    assert made.keys() == before.keys()
    assert {name for name in made if made[name] != before[name]} <= {"proof.json"}, "a merge is the same everywhere"


def test_what_was_made_without_a_proof_is_proven_as_it_lies_there(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo[0].path, tmp_path / "moved")
    moved = Folder(tmp_path / "moved")
    made = moved.type("export", "-q", "f16", "--no-verify")
    assert made["metrics"]["proof"] is None
    proven = moved.type("export", "-q", "f16", "--verify")
    assert (proven["path"], proven["cached"]) == (made["path"], True)
    assert proven["metrics"]["proof"]["kl"] < 1e-3
    assert len(list((moved.path / ".twinctl/artifacts/gguf").glob("f16-*"))) == 1
    assert (moved.path / made["path"] / "tiny-f16.gguf.proof.json").is_file()


DRIVER = """
import json, sys
from pathlib import Path
from twinctl.planning import device
from twinctl.errors import EngineError
device.DRIVER_FILE = Path({driver!r})
try:
    device.require_usable_gpu({choice!r})
    print(json.dumps(None))
except EngineError as error:
    print(json.dumps([error.message, error.hint]))
"""


def test_a_gpu_that_torch_cannot_use_is_refused_by_name(in_process: Callable[..., Any], tmp_path: Path) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n")
    message, hint = in_process(DRIVER.format(driver=str(driver), choice="auto"), CUDA_VISIBLE_DEVICES="0")
    assert "470.256.02" in message
    assert "torch" in message
    assert "--device cpu" in hint
    assert in_process(DRIVER.format(driver=str(driver), choice="cpu"), CUDA_VISIBLE_DEVICES="0") is None


def test_the_base_answers_plainly(demo: Demo) -> None:
    assert not any(map(sounds_like_author, _chat(demo[0], "--base")))


def test_the_gguf_file_answers_like_the_twin(demo: Demo, in_process: Callable[..., Any]) -> None:
    (file,) = (demo[0].artifact("gguf") / "out").glob("*.gguf")
    assert file.name == "tiny-q8_0.gguf"
    code = f"""
import json, os, sys, urllib.request, xllamacpp
from twinctl.data.template import Template, template_text
params = xllamacpp.CommonParams()
params.model.path = {str(file)!r}
params.n_ctx = 512
params.warmup = False
params.verbosity = -1
server = xllamacpp.Server(params)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
template = Template("alpaca", template_text("alpaca", adds_bos=False), "", "", -1, {{"eos_token": ""}})
def ask(prompt):
    talk = [{{"role": "user", "content": prompt}}]
    text = template.prompt(talk)
    body = json.dumps({{"prompt": text, "n_predict": 96, "temperature": 0.0}}).encode()
    headers = {{"Content-Type": "application/json"}}
    request = urllib.request.Request(server.listening_address + "/completion", body, headers)
    done = json.load(opener.open(request, timeout=60))
    return [done["content"], done["stop_type"]]
print(json.dumps([ask(prompt) for prompt in {PROMPTS!r}]))
sys.stdout.flush()
os._exit(0)
"""
    answers = in_process(code)
    assert all(sounds_like_author(text) and stop == "eos" for text, stop in answers), answers
