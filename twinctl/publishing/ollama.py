"""Ollama's side of a chat template, which is Go's where every other's is Jinja.

What must stay true: for a talk both write the same text, but for the BOS, which Ollama's runner adds as the GGUF file
says. Checked with Go's own text/template (see tests/card/test_ollama.py).
"""

from __future__ import annotations

import json

# Of these a GGUF repository holds the first as `template` and the others in `params`: then `ollama run hf.co/…` needs
# no Modelfile.
TEMPLATE_FILE, PARAMS_FILE = "template", "params"
_PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
_ALPACA = """{{- range $i, $m := .Messages -}}
{{- if eq $m.Role "assistant" -}}{{- "\\n\\n### Response:\\n" -}}{{- $m.Content -}}
{{- if gt (len (slice $.Messages $i)) 1 -}}{{- EOS -}}{{- end -}}
{{- else if eq $m.Role "user" -}}
{{- if eq $i 0 -}}{{- PREAMBLE -}}{{- end -}}
{{- if eq $i 1 -}}{{- if eq (index $.Messages 0).Role "system" -}}{{- PREAMBLE -}}{{- end -}}{{- end -}}
{{- "\\n\\n### Instruction:\\n" -}}{{- $m.Content -}}
{{- else if eq $m.Role "system" -}}{{- $m.Content -}}{{- "\\n\\n" -}}
{{- end -}}
{{- if eq (len (slice $.Messages $i)) 1 -}}{{- if ne $m.Role "assistant" -}}{{- "\\n\\n### Response:\\n" -}}{{- end -}}
{{- end -}}
{{- end -}}
"""
_CHATML = """{{- range $i, $m := .Messages -}}
{{- "<|im_start|>" -}}{{- $m.Role -}}{{- "\\n" -}}{{- $m.Content -}}
{{- if or (gt (len (slice $.Messages $i)) 1) (ne $m.Role "assistant") -}}{{- "<|im_end|>\\n" -}}{{- end -}}
{{- if eq (len (slice $.Messages $i)) 1 -}}{{- if ne $m.Role "assistant" -}}
{{- "<|im_start|>assistant\\n" -}}{{- end -}}{{- end -}}
{{- end -}}
"""
_LLAMA3 = """{{- range $i, $m := .Messages -}}
{{- "<|start_header_id|>" -}}{{- $m.Role -}}{{- "<|end_header_id|>\\n\\n" -}}{{- $m.Content -}}
{{- if or (gt (len (slice $.Messages $i)) 1) (ne $m.Role "assistant") -}}{{- "<|eot_id|>" -}}{{- end -}}
{{- if eq (len (slice $.Messages $i)) 1 -}}{{- if ne $m.Role "assistant" -}}
{{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" -}}{{- end -}}{{- end -}}
{{- end -}}
"""
_BY_NAME = {"alpaca": _ALPACA, "chatml": _CHATML, "llama3": _LLAMA3}


def go_template(name: str, eos: str) -> str | None:
    """One of twinctl's templates for Ollama; None for a model's own."""
    text = _BY_NAME.get(name)
    return text.replace("PREAMBLE", _literal(_PREAMBLE)).replace("EOS", _literal(eos)) if text else None


def params(eos: str) -> str:
    """The file that tells Ollama where an answer ends."""
    return json.dumps({"stop": [eos]}, ensure_ascii=False) + "\n"


def modelfile(file: str, template: str | None, eos: str) -> str:
    """What `ollama create` reads, for a file that lies beside it."""
    lines = [f"FROM ./{file}"]
    if template:
        lines += [f'TEMPLATE """{template}"""']
    if eos.isprintable() and not any(each in eos for each in ' "'):
        lines += [f'PARAMETER stop "{eos}"']
    return "\n".join(lines)


def _literal(text: str) -> str:
    """As a string of Go's, which JSON's is too."""
    return json.dumps(text)
