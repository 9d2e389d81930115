"""llama.cpp renders our templates to the prompts that prepare trained answers to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from twinctl.data.template import Message, Template, packaged
from twinctl.gguf.writer import write_gguf

EOS = "<|end_of_text|>"
TALK: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " What is fog?\n"},
    {"role": "assistant", "content": "Weather that stayed."},
    {"role": "user", "content": "{{ And }} mist?"},
    {"role": "assistant", "content": "Look it up."},
    {"role": "tool", "content": "mist: thin fog"},
]


@pytest.mark.parametrize("name", ["alpaca", "chatml", "llama3"])
def test_a_prompt_is_the_same_there(name: str, llama_folder: tuple[Path, Any], tmp_path: Path, run_gguf: Any) -> None:
    folder = Path(shutil.copytree(llama_folder[0], tmp_path / "hf"))
    (folder / "chat_template.jinja").write_text(packaged(name), encoding="utf-8")
    llama = run_gguf(write_gguf(folder, tmp_path / "m.gguf", "f32", name=name).path)
    # It takes the BOS away, and puts it back with the tokens.
    template = Template(name, packaged(name), "", EOS, 0, {"bos_token": "", "eos_token": EOS})
    for talk in (TALK, TALK[:4], TALK[1:2]):
        assert llama.post("/apply-template", {"messages": talk})["prompt"] == template.prompt(talk)
