"""Answers on a CUDA GPU, where Unsloth decodes in a way of its own: the very tokens of a bare generate, as soon, and
alike however they are asked for.

On a CPU the same code compares what test_engine_chat.py does; the speed of an 8B is tests/benchmarks/chat.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.gpu

# An adapter of random weights is enough: it changes every answer. What Unsloth's cache is left as by memory that runs
# out in the middle is made by hand.
ASKING = """
import json, statistics, sys, tempfile
from pathlib import Path
import torch
sys.path.insert(0, {benchmarks!r})
import chat as benchmark
from twinctl.data.template import load_template
from twinctl.data.tokenizer import TextTokenizer
from twinctl.bundled import BASE
from twinctl.engine.generation import LocalModel
from twinctl.engine.unsloth_import import into_log, start_unsloth
from twinctl.errors import EngineError
from twinctl.config.sampling import Sampling
from twinctl.inference.chat_model import ModelFiles

work = Path({work!r})
with into_log(work / "log.txt"):
    start_unsloth()
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.manual_seed(0)
    fresh = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False,
                       task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(BASE), fresh).save_pretrained(work / "adapter")
template = load_template("alpaca", BASE, TextTokenizer.load(BASE))
about = dict(max_length=1024, template=template.text, eos=template.eos, base=BASE, log=work / "log.txt")
twin = LocalModel.load(ModelFiles(adapter=work / "adapter", **about), "twin")
QUESTIONS = ["What is rain?", "Explain what an anvil is, and who needs one in a town by the sea.", "Why?",
             "Tell me about a hedgehog. Be brief.", "Who bakes the bread?", "東京 🙂?"]
talks = [[dict(role="user", content=question)] for question in QUESTIONS]
greedy = Sampling(temperature=0, max_new_tokens=48)
silent = lambda piece: None
found = dict(device=twin._model.device.type)

def bare(talk):
    ids = twin._tokenizer(twin.rendered(talk), return_tensors="pt", add_special_tokens=False).to(twin._model.device)
    with torch.inference_mode():
        out = twin._model.generate(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False,
                                   max_new_tokens=48, pad_token_id=twin._tokenizer.pad_token_id)
    return twin._tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)

def said(speaker):
    return [speaker.answer(talk, greedy, silent).text for talk in talks]

pieces = []
found["streamed"] = [twin.answer(talks[0], greedy, pieces.append).text, "".join(pieces)]
found["single"], found["bare"] = said(twin), [bare(talk) for talk in talks]
found["batched"] = [answer.text for answer in twin.answers(talks, greedy)]
found["base"], found["again"] = said(twin.as_base()), said(twin)
found["base alone"] = said(LocalModel.load(ModelFiles(**about), "base"))

generate = twin._model.generate
def torn(**how):
    generate(**how)
    for module in twin._model.modules():
        vars(module).pop("temp_QA", None)
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
twin._model.generate = torn
try:
    twin.answer(talks[0], greedy, silent)
except EngineError as error:
    found["memory"] = error.hint
twin._model.generate = generate
found["after"] = said(twin)

benchmark.never_stop(twin)
ways = dict(bare=benchmark.bare, ours=benchmark.ours)
took = dict(bare=[], ours=[])
with tempfile.TemporaryFile("w") as out:
    for number in range(8):
        for name, way in ways.items():
            took[name] += [way(twin, talks[0], 32, out).first]
found["first"] = {{name: statistics.median(firsts[1:]) for name, firsts in took.items()}}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def gpu_answers(tmp_path_factory: pytest.TempPathFactory, in_process: Callable[..., Any]) -> dict[str, Any]:
    benchmarks = str(Path(__file__).parents[1] / "benchmarks")
    work = str(tmp_path_factory.mktemp("chat"))
    found: dict[str, Any] = in_process(ASKING.format(work=work, benchmarks=benchmarks))
    assert found["device"] == "cuda"
    return found


def test_a_streamed_answer_is_what_a_bare_generate_makes(gpu_answers: dict[str, Any]) -> None:
    assert gpu_answers["single"] == gpu_answers["bare"]
    text, shown = gpu_answers["streamed"]
    assert text == shown == gpu_answers["bare"][0] != ""


def test_a_batch_answers_as_one_prompt_alone_but_for_near_ties(gpu_answers: dict[str, Any]) -> None:
    """bf16 sums of a batch round otherwise, so a near tie can fall otherwise, and the answer then goes another way.
    Left padding that is counted as text would change all of them, from the first token on.
    """
    same = [one == alone for one, alone in zip(gpu_answers["batched"], gpu_answers["single"], strict=True)]
    assert sum(same) >= len(same) / 2, gpu_answers
    begins = [one[:3] == alone[:3] for one, alone in zip(gpu_answers["batched"], gpu_answers["single"], strict=True)]
    assert sum(begins) >= len(begins) - 1, gpu_answers


def test_base_and_twin_speak_from_one_set_of_weights(gpu_answers: dict[str, Any]) -> None:
    assert gpu_answers["base"] == gpu_answers["base alone"] != gpu_answers["single"]
    assert gpu_answers["again"] == gpu_answers["single"]


def test_memory_that_ran_out_in_the_middle_leaves_a_model_that_answers(gpu_answers: dict[str, Any]) -> None:
    assert "--4bit" in gpu_answers["memory"]
    assert gpu_answers["after"] == gpu_answers["single"]


def test_the_first_token_is_at_most_50_ms_later(gpu_answers: dict[str, Any]) -> None:
    assert gpu_answers["first"]["ours"] - gpu_answers["first"]["bare"] <= 0.050
