"""Our reader of Go's templates against Go itself, where there is one on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.chats import CHATS
from twinctl.ollama.modelfile import HOSTILE, commands, modelfile
from twinctl.ollama.template_script import learn, messages_of

PROGRAM = """package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

func main() {
	var asked struct {
		Template string
		Talks    [][]message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	program := template.Must(template.New("").Option("missingkey=zero").Parse(asked.Template))
	written := []string{}
	for _, talk := range asked.Talks {
		var text strings.Builder
		if err := program.Execute(&text, map[string]any{"Messages": talk}); err != nil {
			panic(err)
		}
		written = append(written, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(written); err != nil {
		panic(err)
	}
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        pytest.skip("there is no Go here")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(PROGRAM)
    env = {"GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off", **os.environ}
    subprocess.run(["go", "build", "-o", "render", "main.go"], cwd=folder, env=env, check=True)
    return folder / "render"


@pytest.mark.parametrize("name", CHATS)
def test_go_writes_what_the_jinja_writes(name: str, program: Path) -> None:
    chat = CHATS[name]
    template = dict(commands(modelfile(chat, "a.gguf")))["template"]
    script = learn(chat)
    contents = [text for text in HOSTILE if not any(word.strip() in text for word in script.loose)]
    talks = [messages_of(talk, [text] * len(talk)) for talk in script.talks for text in contents]
    asked = json.dumps({"Template": template, "Talks": talks})
    done = subprocess.run([program], input=asked, capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout) == [chat.prompt(talk) for talk in talks]
