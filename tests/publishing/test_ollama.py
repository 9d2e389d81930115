"""Ollama's templates write what ours write. Go renders them, where there is a Go; else what was rendered is pinned."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from twinctl.data.template import Template, template_text
from twinctl.publishing.ollama import go_template, modelfile, params

# The templates' text as Go 1.27's text/template last agreed with the Jinja: who changes one runs this file with a Go.
AGREED = {"alpaca": "75f617fb7f0d28aa", "chatml": "6e91045c2984dec4", "llama3": "aa94e1f085dbc317"}
EOS = {"alpaca": "<|end_of_text|>", "chatml": "<|im_end|>", "llama3": "<|eot_id|>"}
GO = """package main
import ("encoding/json"; "os"; "strings"; "text/template")
type M struct { Role string `json:"role"`; Content string `json:"content"` }
func main() {
    var in struct { Template string; Talks [][]M }
    if e := json.NewDecoder(os.Stdin).Decode(&in); e != nil { panic(e) }
    out := []string{}
    for _, talk := range in.Talks {
        var b strings.Builder
        t := template.Must(template.New("").Parse(in.Template))
        if e := t.Execute(&b, map[string]any{"Messages": talk}); e != nil { panic(e) }
        out = append(out, b.String())
    }
    json.NewEncoder(os.Stdout).Encode(out)
}
"""


def talk(*turns: str) -> list[dict[str, str]]:
    """Turns by turns, the first the system's if it begins so."""
    first = [{"role": "system", "content": turns[0]}] if turns[0].startswith("system") else []
    roles = ("user", "assistant")
    return [*first, *({"role": roles[n % 2], "content": each} for n, each in enumerate(turns[len(first) :]))]


TALKS = [
    talk("Hi"),
    talk("system: be kind", "Hi"),
    talk("a", "b", "c\n\nd"),
    talk("system: S", "a", "b", "c", "d", '{{ . }} "q" ünï'),
]


@pytest.mark.parametrize("name", AGREED)
def test_the_template_is_the_one_that_go_agreed_with(name: str) -> None:
    text = (go_template(name, "<eos>") or "") + template_text(name, adds_bos=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == AGREED[name]


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
@pytest.mark.parametrize("name", AGREED)
def test_go_writes_what_jinja_writes(name: str, tmp_path: Path) -> None:
    eos = EOS[name]
    ours = Template(name, template_text(name, adds_bos=False), "", eos, 1, {"bos_token": "", "eos_token": eos})
    (tmp_path / "main.go").write_text(GO)
    asked = json.dumps({"Template": go_template(name, eos), "Talks": [*TALKS, talk("a", "so far")]})
    done = subprocess.run(["go", "run", "main.go"], input=asked, capture_output=True, text=True, cwd=tmp_path)
    *prompts, begun = json.loads(done.stdout or done.stderr)
    assert prompts == [ours.prompt(each) for each in TALKS]
    assert begun.endswith("so far")  # an answer to go on with has no end yet


def test_a_model_s_own_template_is_left_to_ollama() -> None:
    assert go_template("model", "</s>") is None
    assert modelfile("a.gguf", None, "</s>") == 'FROM ./a.gguf\nPARAMETER stop "</s>"'


def test_an_odd_end_token_breaks_no_file() -> None:
    assert json.loads(params('a"b\\')) == {"stop": ['a"b\\']}
    assert "PARAMETER" not in modelfile("a.gguf", None, 'a" b')
    assert '{{- "a\\"b" -}}' in (go_template("alpaca", 'a"b') or "")
