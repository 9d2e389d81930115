"""Answers of the real tiny model: streamed, batched, from base, twin, merged model, GGUF file and checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Folder, Once
from twinctl.pipeline.checkpoints import MANIFEST

ASKING = """
import json, os, signal, sys
from pathlib import Path
from twinctl.chat.model_files import *
from twinctl.chat.model_selection import *
from twinctl.pipeline.run_view import RunView
from twinctl.errors import TwinctlError
from twinctl.config.sampling import Sampling
from twinctl.workspace.workspace import Workspace

os.chdir({path!r})
workspace = Workspace.open(Path(".twinctl"))
run = workspace.run(None)
QUESTIONS = ["What is rain?", "Explain what an anvil is.", "Why?", "Tell me about a hedgehog. Be brief.", "東京 🙂?"]
talks = [[dict(role="user", content=question)] for question in QUESTIONS]
greedy = Sampling(temperature=0, max_new_tokens=40)
silent = lambda piece: None
found = {{}}

def load(**wanted):
    groups = select_models(RunView(workspace, run), ModelSelection(**wanted))
    return [speaker for group in groups for speaker in group.load()]

def said(speaker, how=greedy):
    return [speaker.answer(talk, how, silent).text for talk in talks]

base, twin = load(compare=True)
found["names"] = [base.name, twin.name]
found["base"], found["twin"] = said(base), said(twin)
found["base alone"] = said(load(base=True)[0])
found["twin alone"] = said(load()[0])
found["merged"] = said(load(merged=True)[0])
found["batched"] = [answer.text for answer in twin.answers(talks, greedy)]

pieces = []
answer = twin.answer(talks[0], greedy, pieces.append)
found["streamed"] = [pieces, answer.text, answer.tokens, answer.finish, answer.prompt_tokens == twin.count(talks[0])]
warm = Sampling(temperature=1.0, max_new_tokens=30, seed=5, top_k=50)
found["seeds"] = [said(twin, warm), said(twin, warm), said(twin, warm.model_copy(update=dict(seed=6)))]

whole = twin.answer(talks[1], greedy, silent).text
stop = whole.split(" ")[4]
cut = twin.answer(talks[1], greedy.model_copy(update=dict(stop=(stop,))), silent)
both = twin.answers(talks[1:2], greedy.model_copy(update=dict(stop=(stop,))))[0]
found["stop"] = [whole, stop, cut.text, cut.finish, both.text, both.finish, cut.tokens]

def interrupt(piece):
    pieces.append(piece)
    if len(pieces) == 4:
        os.kill(os.getpid(), signal.SIGINT)

pieces = []
long = greedy.model_copy(update=dict(max_new_tokens=400, stop=("never said",)))
halted = twin.answer(talks[0], long, interrupt)
after = twin.answer(talks[0], greedy, silent).text
found["halted"] = [halted.text, halted.finish, halted.tokens, "".join(pieces), after]

def refused(do):
    try:
        return ["not refused", str(do())]
    except TwinctlError as error:
        return [error.code, error.message, error.hint]

filler = [dict(role="user", content="rain " * 3000)]
found["long"] = [refused(lambda: twin.answer(filler, greedy, silent)), twin.count(filler), twin.context]
size = next(size for size in range(2500, 1, -1)
            if twin.count([dict(role="user", content="rain " * size)]) <= twin.context - 3)
full = [dict(role="user", content="rain " * size)]
room = twin.context - twin.count(full)
filled = twin.answer(full, greedy, silent)
found["filled"] = [room, filled.tokens, filled.finish]

import torch
generate, rows = twin._model.generate, []
def out_of_memory(**how):
    rows.append(how["input_ids"].shape[0])
    if rows[-1] > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    return generate(**how)
twin._model.generate = out_of_memory
found["halves"] = [[answer.text for answer in twin.answers(talks, greedy)], rows]
def never(**how):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
twin._model.generate = never
found["memory"] = refused(lambda: twin.answer(talks[0], greedy, silent))
twin._model.generate = generate

from twinctl.engine.stream_decoder import AnswerDecoder
text = "Ah 🙂👩‍👩‍👧 東京タワー مرحبا é ſ\\u0301 end"
ids = twin._tokenizer(text, add_special_tokens=False)["input_ids"]
shown = []
spoken = AnswerDecoder(twin._tokenizer, twin._stops(), (), shown.append)
for token in [*ids[:3], twin._tokenizer.bos_token_id, *ids[3:], twin._tokenizer.eos_token_id, ids[0]]:
    spoken.add(token)
spoken.close()
found["letters"] = [text, shown, spoken.text, spoken.specials, spoken.ended, spoken.tokens == len(ids) + 2]
half = AnswerDecoder(twin._tokenizer, twin._stops(), (), silent)
for token in twin._tokenizer("🙂", add_special_tokens=False)["input_ids"][:-1]:
    half.add(token)
half.close()
found["unfinished"] = half.text

for path in gguf_files(RunView(workspace, run)):
    (speaker,) = load(gguf=str(path))
    pieces = []
    answer = speaker.answer(talks[0], greedy, pieces.append)
    kept = [said(speaker), [one.text for one in speaker.answers(talks, greedy)], pieces, answer.text]
    found[path.name] = [*kept, speaker.context, speaker.count(talks[0]) == twin.count(talks[0]), said(speaker, warm),
                        said(speaker, warm)]
    cut = speaker.answer(talks[1], greedy.model_copy(update=dict(stop=(stop,))), silent)
    found[path.name] += [cut.text, refused(lambda: speaker.answer(filler, greedy, silent))]
    speaker.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers(uninterrupted: Folder, once: Once, in_process: Callable[..., Any]) -> dict[str, Any]:
    """Everything that was asked, in one process, in full precision."""

    def make(path: Path) -> None:
        found = in_process(ASKING.format(path=str(uninterrupted.path)), UNSLOTH_CPU_BF16="0", OMP_NUM_THREADS="1")
        (path / "said.json").write_text(json.dumps(found))

    found: dict[str, Any] = json.loads((once("chat", make) / "said.json").read_text())
    return found


def test_twin_and_base_are_two_speakers_of_one_set_of_weights(answers: dict[str, Any]) -> None:
    assert answers["names"] == ["base", "tiny"]
    assert answers["base"] != answers["twin"]
    assert answers["base"] == answers["base alone"]
    assert answers["twin"] == answers["twin alone"]
    assert all(answers["base"]) and all(answers["twin"])


def test_exports_say_the_same(answers: dict[str, Any]) -> None:
    assert answers["merged"] == answers["twin"]
    assert answers["tiny-f32.gguf"][0] == answers["twin"]


def test_an_answer_is_the_same_however_it_is_asked_for(answers: dict[str, Any]) -> None:
    assert answers["batched"] == answers["twin"]
    pieces, text, tokens, finish, counted = answers["streamed"]
    assert "".join(pieces) == text == answers["twin"][0]
    assert len(pieces) > 3 and tokens >= len(pieces) and finish in ("stop", "length") and counted


def test_the_same_seed_gives_the_same_answer(answers: dict[str, Any]) -> None:
    one, again, other = answers["seeds"]
    assert one == again != other


def test_a_stop_text_ends_an_answer_and_is_no_part_of_it(answers: dict[str, Any]) -> None:
    whole, stop, cut, finish, batched, batched_finish, tokens = answers["stop"]
    assert cut == batched == whole.partition(stop)[0]
    assert finish == batched_finish == "stop"
    assert tokens < 40


def test_ctrl_c_keeps_what_came_and_the_model(answers: dict[str, Any]) -> None:
    text, finish, tokens, shown, after = answers["halted"]
    assert finish == "interrupted" and 4 <= tokens <= 6
    assert text == shown and answers["twin"][0].startswith(text)
    assert after == answers["twin"][0]


def test_a_prompt_that_does_not_fit_is_refused_with_its_length(answers: dict[str, Any]) -> None:
    (code, message, hint), tokens, context = answers["long"]
    assert (code, hint) == ("ConfigError", "shorten the prompt")
    assert str(tokens) in message and str(context) in message
    room, filled, finish = answers["filled"]
    assert filled == room and finish == "length"


def test_memory_that_runs_out_halves_a_batch_and_offers_four_bits(answers: dict[str, Any]) -> None:
    texts, rows = answers["halves"]
    assert texts == answers["twin"] and rows == [5, 2, 3, 1, 2]
    code, message, hint = answers["memory"]
    assert code == "EngineError" and "not enough memory" in message and "--4bit" in hint


def test_text_comes_in_whole_characters_and_without_special_tokens(answers: dict[str, Any]) -> None:
    text, shown, whole, specials, ended, counted = answers["letters"]
    assert "".join(shown) == whole == text
    assert all("\ufffd" not in piece for piece in shown)
    assert specials == 1 and ended and counted
    assert answers["unfinished"] == ""


@pytest.mark.parametrize("name", ["tiny-f32.gguf", "tiny-q8_0.gguf"])
def test_a_gguf_file_speaks(answers: dict[str, Any], name: str) -> None:
    texts, again, pieces, text, context, counted, warm, warm_again, cut, refused = answers[name]
    assert texts == again and "".join(pieces) == text == texts[0]
    assert context == answers["long"][2] and counted
    assert warm == warm_again != texts
    whole, stop, *_ = answers["stop"]
    if name == "tiny-f32.gguf":
        assert cut == whole.partition(stop)[0]
    assert refused[0] == "ConfigError"


# What is not there, or not what it was


def error(folder: Folder, *words: str, code: int = 4) -> tuple[str, str]:
    found = folder.type("chat", "-p", "x", *words, code=code)["error"]
    return found["message"], found["hint"]


def test_a_checkpoint_speaks_while_training_goes_on(folder: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    message, hint = error(folder)
    assert message == "run “tiny” has no trained model yet: prepare is complete"
    assert hint == "make it: twinctl train --run tiny"
    assert "has no checkpoint yet" in error(folder, "--checkpoint", "40")[0]
    training = folder.start("train", "--max-steps", "2000", "--save-every", "40", "--batch-size", "2", "--json")
    steps = _wait_for_a_checkpoint(folder)
    document = folder.type("chat", "-p", "What is rain?", "--checkpoint", str(steps), "--greedy")
    assert document["model"] == f"checkpoint-{steps}" and document["text"]
    message, hint = error(folder)
    assert "no trained model yet: prepare is complete, train is running" in message
    assert hint.startswith("ask what it is at step ") and "twinctl chat --checkpoint" in hint
    message, hint = error(folder, "--checkpoint", "1")
    assert "no checkpoint of step 1; there are: " in message
    assert training.poll() is None
    folder.type("stop", "train")
    training.communicate(timeout=60)


def _wait_for_a_checkpoint(folder: Folder) -> int:
    until = time.monotonic() + 150
    while time.monotonic() < until:
        artifacts = folder.path / ".twinctl" / "artifacts" / "train"
        found = sorted(artifacts.glob(f"*/work/checkpoints/checkpoint-*/{MANIFEST}")) if artifacts.is_dir() else []
        if found:
            return int(found[-1].parent.name.removeprefix("checkpoint-"))
        time.sleep(0.2)
    raise AssertionError("no checkpoint")
