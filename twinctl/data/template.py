"""Prompt templates: one Jinja text each, shared by prepare, chat and every exported tokenizer.

What must stay true: the text that a sample is trained on and the text that chat sends are rendered by the same
template; every answer ends with the tokenizer's EOS; nothing stands between the prompt and the answer.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

Message = dict[str, str]


def template_text(name: str, *, adds_bos: bool) -> str:
    """The Jinja chat template. Without `adds_bos` it writes no BOS, for tokenizers that put none before a text."""
    text = (files("twinctl.data") / "templates" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")
    return text if adds_bos else text.replace("{{- bos_token -}}\n", "")


def render(template: str, messages: list[Message], *, bos: str, eos: str) -> str:
    """The text of a talk; one that ends with a user's turn is a prompt, ready for the answer.

    Rendered as transformers renders chat templates (sandboxed, trimmed blocks), so that both give the same bytes.
    """
    return str(_compiled(template).render(messages=messages, bos_token=bos, eos_token=eos, add_generation_prompt=False))


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
