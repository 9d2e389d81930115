"""Prompt templates: one Jinja chat template each, shared by prepare, chat and every exported tokenizer.

What must stay true: a conversation's text is what transformers renders from the same Jinja text and tokenizer; it ends
with the token that stops generation; a prompt is the beginning of the conversation that it is asked in, up to its
answer. Only a model's own template is foreign code, and runs in Jinja's sandbox as transformers runs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.errors import ConfigError
from twinctl.workspace.files import read_json

if TYPE_CHECKING:
    from twinctl.data.tokenizer import TextTokenizer

Message = dict[str, str]

MODEL = "model"
# The tokens that a template cannot do without; each ends its answers with the last.
MARKERS = {
    "alpaca": (),
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}
PROBE = "twinctl asks what follows an answer"


@dataclass(frozen=True)
class Template:
    """A template as it is used with one tokenizer.

    `bos` is what every conversation begins with, and `eos` the token that ends an answer and stops generation; `marks`
    are the special tokens by the names that the Jinja text has for them; `tail` is what it writes behind the last
    `eos`.
    """

    name: str
    text: str
    bos: str
    eos: str
    eos_id: int
    marks: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    tail: str = ""

    def render(self, messages: list[Message]) -> str:
        """A whole conversation as it is trained; it ends with `eos`. Raises ConfigError if the template refuses it."""
        text = self._written(messages, asks=False)
        if not text.endswith(self.eos + self.tail):
            raise ConfigError(
                f"the template “{self.name}” does not end this conversation with {self.eos}", _other(self.name)
            )
        return text[: -len(self.tail)] if self.tail else text

    def prompt(self, messages: list[Message]) -> str:
        """A conversation that waits for its next answer. Raises ConfigError when the template refuses it."""
        return self._written(messages, asks=True)

    def answers(self, messages: list[Message], text: str | None = None) -> list[tuple[int, int]]:
        """Where in `render(messages)` (or in `text`, which is that) the answers are, each with the `eos` behind it.

        Raises ConfigError for a template that writes a conversation in another way once it continues.
        """
        text = self.render(messages) if text is None else text
        spans: list[tuple[int, int]] = []
        end = 0
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self.prompt(messages[:index])
                start, stop = len(before), text.find(self.eos, len(before))
                if start < end or stop < 0 or not text.startswith(before):
                    raise ConfigError(
                        f"the template “{self.name}” writes a conversation in another way once it continues, so its"
                        " answers cannot be found in it",
                        _other(self.name),
                    )
                end = stop + len(self.eos)
                spans.append((start, end))
        return spans

    @property
    def digest(self) -> str:
        """The sha256 of what decides the text of conversations, whatever the template's name."""
        return hashlib.sha256(f"{self.text}\0{self.eos}".encode()).hexdigest()

    def _written(self, messages: list[Message], *, asks: bool) -> str:
        ours = self.name != MODEL
        compiled, known = _compiled(self.text, sandboxed=not ours)
        if not ours:
            messages = [_with_input(message) for message in messages]
        names = {**known, **self.marks, "messages": messages, "add_generation_prompt": asks}
        try:
            # Template.render does the same, in twice the time: the globals are in `names` already.
            return "".join(compiled.root_render_func(compiled.new_context(names, shared=True)))
        except Exception as error:  # a template refuses by raising, and can trip over anything
            raise ConfigError(
                f"the template “{self.name}” refuses a conversation: {error}", _other(self.name)
            ) from error


def packaged(name: str) -> str:
    """The Jinja text of one of our templates."""
    return (files("twinctl.data") / "templates" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def template_text(name: str, *, adds_bos: bool) -> str:
    """The Jinja text of one of our templates; without `adds_bos` for tokenizers that put no BOS before a text."""
    return packaged(name) if adds_bos else packaged(name).replace("{{- bos_token -}}\n", "")


def load_template(name: str, folder: Path, tokenizer: TextTokenizer) -> Template:
    """alpaca, chatml, llama3, or model: the one in the model's folder; for this tokenizer.

    Raises ConfigError when the tokenizer lacks a token that the template needs, or when there is no template of the
    model's own, or one that ends no answer with a special token.
    """
    if name == MODEL:
        return _own_template(folder, tokenizer)
    for marker in MARKERS[name]:
        if marker not in tokenizer.specials:
            raise ConfigError(f"this model's tokenizer has no {marker}", "use --template alpaca or model")
    text = template_text(name, adds_bos=tokenizer.adds_bos)
    eos = (tokenizer.eos, *MARKERS[name])[-1]
    eos_id = tokenizer.specials.get(eos, tokenizer.eos_id)
    marks = {"bos_token": tokenizer.bos, "eos_token": tokenizer.eos}
    template = Template(name, text, tokenizer.bos, eos, eos_id, marks)
    return replace(template, tail=_after_answer(template).partition(eos)[2])


def _own_template(folder: Path, tokenizer: TextTokenizer) -> Template:
    from twinctl.data.tokenizer import special_pattern

    template = Template(MODEL, _own_text(folder), "", "", -1, tokenizer.named)
    after = _after_answer(template)
    special = special_pattern(tokenizer)
    match = special.match(after.lstrip())
    if match is None or special.sub("", after).strip():
        raise ConfigError("the model's own template ends an answer with no special token", _other(MODEL))
    eos = match.group()
    begins = template.prompt([_probe("user")]).startswith(tokenizer.bos)
    bos = tokenizer.bos if begins else ""
    return replace(template, bos=bos, eos=eos, eos_id=tokenizer.specials[eos], tail=after.partition(eos)[2])


def _own_text(folder: Path) -> str:
    """The model's chat template as transformers finds it: a file of its own, else an entry among several or the one."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    stored = read_json(config, "download the model again").get("chat_template") if config.is_file() else None
    if isinstance(stored, list):
        stored = {entry["name"]: entry["template"] for entry in stored}.get("default")
    if not isinstance(stored, str):
        raise ConfigError("the model has no chat template of its own", _other(MODEL))
    return stored


def _after_answer(template: Template) -> str:
    """What the template writes behind the last answer of a conversation."""
    written = template._written([_probe("user"), _probe("assistant")], asks=False)
    before, answer, after = written.rpartition(PROBE)
    if before.count(PROBE) != 1 or not answer:
        raise ConfigError(f"the template “{template.name}” does not write question and answer", _other(template.name))
    return after


def _probe(role: str) -> Message:
    return {"role": role, "content": PROBE}


def _with_input(message: Message) -> Message:
    """For a template that knows no input next to an instruction."""
    if "input" not in message:
        return message
    return {"role": message["role"], "content": f"{message['content']}\n\n{message['input']}"}


def _other(name: str) -> str:
    return "use another one: --template chatml or alpaca" if name == MODEL else "use another one: --template alpaca"


@lru_cache(maxsize=8)
def _compiled(text: str, *, sandboxed: bool) -> tuple[Any, dict[str, Any]]:
    """The compiled template, and the names that it knows without being told. What transformers gives a template is here
    too: its whitespace rules, tags, filter and functions.
    """
    from jinja2 import Environment, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    kind = ImmutableSandboxedEnvironment if sandboxed else Environment
    extensions = ["jinja2.ext.loopcontrols", _generation_tag()]
    environment = kind(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = _as_json
    environment.globals |= {"raise_exception": _refuse, "tools": None, "documents": None}
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        compiled = environment.from_string(text)
    except TemplateError as error:
        raise ConfigError(f"the chat template is no Jinja: {error}", _other(MODEL)) from error
    return compiled, dict(compiled.globals)


def _generation_tag() -> Any:
    """{% generation %} … {% endgeneration %}, with which some models mark their answers: it writes what is inside."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            inside = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_inside"), [], [], inside).set_lineno(line)

        def _inside(self, caller: Any) -> Any:
            return caller()

    return Generation


def _as_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
