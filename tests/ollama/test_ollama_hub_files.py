"""What `ollama run hf.co/…` asks, from the files beside GGUF files on the Hub, is what training asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from tests.support.chats import CHATS, SYSTEM_LAST, chat_of
from twinctl.config.sampling import Sampling
from twinctl.data.template import MARKERS, MODEL
from twinctl.errors import ConfigError
from twinctl.ollama.go_read import rendered
from twinctl.ollama.modelfile import commands, hub_files, modelfile, parameters_of

USER, ANSWER = {"role": "user", "content": "What is fog?"}, {"role": "assistant", "content": "Weather that stayed."}
SYSTEM = {"role": "system", "content": 'Be brief. {{ .System }} "ünï"'}
TOOL = {"role": "tool", "content": '{"visibility": "20 m"}'}
WITH_INPUT = {"role": "user", "content": "Name the weather.\n\n### Input:\nI see nothing."}
CONVERSATIONS = {
    "a question": [USER],
    "a question with an input": [WITH_INPUT],
    "a system message": [SYSTEM, USER],
    "a system message and an input": [SYSTEM, WITH_INPUT],
    "several turns": [USER, ANSWER, WITH_INPUT, ANSWER, USER],
    "several turns, the first with an input": [SYSTEM, WITH_INPUT, ANSWER, USER, ANSWER, USER],
    "a tool": [USER, ANSWER, TOOL],
    "a tool, and on": [SYSTEM, WITH_INPUT, ANSWER, TOOL, ANSWER, USER],
}
# By packaged template; `model` is a base's own, here those of the families.
CHATS_OF = {name: [name, f"{name} without BOS"] for name in MARKERS}
CHATS_OF[MODEL] = [name for name in CHATS if name.endswith("'s own")]
EVERY = [(template, name) for template, names in CHATS_OF.items() for name in names]


@cache
def text_of(name: str) -> str:
    """The Modelfile."""
    return modelfile(CHATS[name], "a.gguf", parameters_of(Sampling(), 1 << 20))


def hub_template(name: str) -> str:
    """The Hub's file `template`."""
    return hub_files(text_of(name))["template"].decode()


def is_taken(name: str, conversation: list[dict[str, str]]) -> bool:
    """Whether the Modelfile's head does not name a part of the conversation as left out."""
    head = text_of(name).partition("FROM")[0].replace(".", ";")
    parts = {"a system message": SYSTEM in conversation, "the results of tools": TOOL in conversation}
    return not any(f" {part};" in head for part, is_there in parts.items() if is_there)


@pytest.mark.parametrize(("template", "name"), EVERY)
@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_the_hubs_template_writes_what_the_jinja_writes_or_it_is_said(template: str, name: str, kind: str) -> None:
    conversation = CONVERSATIONS[kind]
    if is_taken(name, conversation):
        assert rendered(hub_template(name), conversation) == CHATS[name].prompt(conversation)
    else:
        assert template == MODEL, "our own templates take every conversation"


@pytest.mark.parametrize(("template", "name"), EVERY)
def test_go_agrees(template: str, name: str, rendered_by_go: Callable[..., list[str]]) -> None:
    taken = [conversation for conversation in CONVERSATIONS.values() if is_taken(name, conversation)]
    assert len(taken) == len(CONVERSATIONS) or (taken and template == MODEL)
    assert rendered_by_go(hub_template(name), taken) == [CHATS[name].prompt(conversation) for conversation in taken]


def test_a_row_with_an_input_is_asked_with_the_preamble_that_training_had() -> None:
    template = replace(CHATS["alpaca without BOS"].template, name="alpaca")
    trained = template.prompt([{"role": "user", "content": "Name the weather.", "input": "I see nothing."}])
    assert "paired with an input" in trained
    assert rendered(hub_template("alpaca without BOS"), [WITH_INPUT]) == trained


@pytest.mark.parametrize("name", CHATS)
def test_they_say_what_the_modelfile_says(name: str) -> None:
    files, lines = hub_files(text_of(name)), [line for line in commands(text_of(name)) if line[0] != "from"]
    values = json.loads(files["params"])
    assert set(files) == {"template", "params"}
    assert files["template"].decode() == dict(lines)["template"]
    assert values.pop("stop") == [value for name, value in lines if name == "stop"]
    numbers = {name: float(value) for name, value in lines if name not in ("stop", "template")}
    assert values == numbers and values["num_ctx"] == 1 << 20


def test_an_odd_end_token_breaks_no_file() -> None:
    chat = chat_of(CHATS["no system"].template.text, eos='a"b\\')
    files = hub_files(modelfile(chat, "a.gguf", {}))
    assert json.loads(files["params"])["stop"][0] == 'a"b\\'
    assert rendered(files["template"].decode(), [USER, ANSWER, USER]) == chat.prompt([USER, ANSWER, USER])


def test_a_template_that_ollama_cannot_follow_has_none() -> None:
    with pytest.raises(ConfigError, match="cannot be expressed for Ollama"):
        modelfile(chat_of(SYSTEM_LAST), "a.gguf", {})
