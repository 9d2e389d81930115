from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

import pytest

Message = dict[str, str]
GO = """package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

func main() {
	var asked struct {
		Template      string
		Conversations [][]message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	program := template.Must(template.New("").Option("missingkey=zero").Parse(asked.Template))
	written := []string{}
	for _, conversation := range asked.Conversations {
		var text strings.Builder
		if err := program.Execute(&text, map[string]any{"Messages": conversation}); err != nil {
			panic(err)
		}
		written = append(written, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(written); err != nil {
		panic(err)
	}
}
"""


@pytest.fixture(scope="session")
def rendered_by_go(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Sequence[list[Message]]], list[str]]:
    """What Go's own text/template writes of conversations; skips the test where no Go is on the PATH."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go here")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    env = {"GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off", **os.environ}
    subprocess.run(["go", "build", "-o", "render", "main.go"], cwd=folder, env=env, check=True)

    def rendered(template: str, conversations: Sequence[list[Message]]) -> list[str]:
        asked = json.dumps({"Template": template, "Conversations": conversations})
        done = subprocess.run([folder / "render"], input=asked, capture_output=True, encoding="utf-8", check=True)
        written: list[str] = json.loads(done.stdout)
        return written

    return rendered
