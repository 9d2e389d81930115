"""Our reader of Go's templates against Go itself, where there is one on the PATH."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.chats import CHATS
from twinctl.config.sampling import Sampling
from twinctl.ollama.modelfile import HOSTILE, commands, modelfile, parameters_of
from twinctl.ollama.template_script import learn, messages_of


@pytest.mark.parametrize("name", CHATS)
def test_go_writes_what_the_jinja_writes(name: str, rendered_by_go: Callable[..., list[str]]) -> None:
    chat = CHATS[name]
    template = dict(commands(modelfile(chat, "a.gguf", parameters_of(Sampling(), 2048))))["template"]
    script = learn(chat)
    contents = [text for text in HOSTILE if not any(word.strip() in text for word in script.unsupported)]
    talks = [messages_of(talk, [text] * len(talk)) for talk in script.forms for text in contents]
    assert rendered_by_go(template, talks) == [chat.prompt(talk) for talk in talks]
