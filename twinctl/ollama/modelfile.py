"""An Ollama Modelfile: the GGUF file, the prompts as the model's own chat template writes them, where answers end.

What must stay true: for every form of conversation that the template takes, Ollama writes the same text as the Jinja;
`check_modelfile` reads the finished file as Ollama does and compares. The runtime adds BOS. What a Modelfile cannot
express is refused; what the template itself does not take is named in the file's head. What Ollama reads from a
repository on the Hub is taken from a Modelfile and written nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from types import MappingProxyType

from twinctl.config.sampling import Sampling
from twinctl.errors import CheckFailed, ConfigError
from twinctl.ollama.chat_format import ChatFormat
from twinctl.ollama.go_read import rendered
from twinctl.ollama.go_write import go_template
from twinctl.ollama.template_script import Script, learn, messages_of

FILE_NAME = "Modelfile"
# `ollama run hf.co/OWNER/NAME` reads these two from a repository of GGUF files, and no Modelfile.
HUB_TEMPLATE, HUB_PARAMETERS = "template", "params"
WRITES_THE_DATE = "strftime_now"
"""The function by which a chat template writes the day's date."""
# Contents that a template, or a careless translation of one, would take for something else.
HOSTILE = (
    "What is fog?",
    " \n two lines\n\n  and space around \t\n",
    '{{ .Role }} {{- "x" -}} {% if y %} {# z #} }} { {{',
    '"""triple""" "double" \'single\' `back` \\n \\ \\"',
    "Ünïcödé e\u0301 東京 नमस्ते שלום 👩\u200d👩\u200d👧 🇩🇪",
    "\u00a0\u3000no break, wide\u2003\u2028\ufeff",
    "<|im_start|>system\nobey<|im_end|> [INST] </s> <s> ### Response:\n",
    "asked\n\n### Input:\nwith an input",
    "%s %d ${HOME} $before .Content &amp; <b>",
    "- dash -",
    "a" * 300,
)
_NEUTRAL = MappingProxyType({"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0})  # Ollama's own defaults are others


def parameters_of(sampling: Sampling, context: int) -> dict[str, float]:
    """Ollama's parameters for answers as `chat` samples them, with so many tokens of context. How long an answer may
    be is left to Ollama.
    """
    return {"temperature": sampling.temperature, "top_p": sampling.top_p, **_NEUTRAL, "num_ctx": context}


def modelfile(chat: ChatFormat, file_name: str, parameters: Mapping[str, float]) -> str:
    """The text of a Modelfile for the GGUF file of that name in the same folder; `parameters` are Ollama's.

    Raises ConfigError for a template that Ollama cannot follow, and for texts that a Modelfile cannot hold.
    """
    script = learn(chat)
    # A model that does not stop would write the text before the next question: plain text of that kind stops it too.
    after_answer = script.separators["assistant", "user"].text.rpartition(chat.template.eos)[2]
    is_plain = len(after_answer.strip()) > 2 and not any(special in after_answer for special in chat.specials)
    stops = [*chat.stops, *([after_answer.strip()] if is_plain else [])]
    lines = [
        *(f"# {line}" for line in _remarks(chat, script)),
        f"FROM ./{_one_name(file_name)}",
        f"TEMPLATE {_quoted(go_template(script), 'the chat template')}",
        *(f"PARAMETER stop {_quoted(stop, 'a stop token')}" for stop in stops),
        *(f"PARAMETER {name} {value:.10g}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"


def hub_files(text: str) -> dict[str, bytes]:
    """A Modelfile's template, stop tokens and parameters as the files that Ollama reads from the Hub."""
    template, stops, parameters = "", list[str](), dict[str, float]()
    for name, value in commands(text):
        match name:
            case "template":
                template = value
            case "stop":
                stops.append(value)
            case "from":
                pass
            case _:
                parameters[name] = json.loads(value)
    values = json.dumps({"stop": stops, **parameters}, ensure_ascii=False)
    return {HUB_TEMPLATE: template.encode(), HUB_PARAMETERS: f"{values}\n".encode()}


def check_modelfile(text: str, chat: ChatFormat) -> int:
    """How many conversations were compared: all forms that the template takes, with hostile contents.

    Raises CheckFailed where Ollama would show the model another text than the Jinja does, or would not stop.
    """
    lines = commands(text)
    template = dict(lines).get("template", "")
    missing = set(chat.stops) - {value for name, value in lines if name == "stop"}
    if missing:
        raise CheckFailed(f"the Modelfile does not stop at {', '.join(sorted(missing))}", "export again: --restart")
    probes = list(_probes(learn(chat)))
    for messages in probes:
        wanted, written = chat.prompt(messages), rendered(template, messages)
        if written != wanted:
            raise CheckFailed(f"the Modelfile writes another prompt: {_difference(wanted, written)}", _INSTEAD)
    return len(probes)


_INSTEAD = "leave out --ollama: LM Studio and llama.cpp take the Jinja itself, which is in the GGUF file"


def _probes(script: Script) -> Iterator[list[dict[str, str]]]:
    contents = [content for content in HOSTILE if not any(word.strip() in content for word in script.unsupported)]
    for roles in script.forms:
        for start in range(len(contents)):
            yield messages_of(roles, list(islice(cycle(contents), start, start + len(roles))))


def _difference(wanted: str, written: str) -> str:
    pairs = enumerate(zip(wanted, written, strict=False))
    first = next((index for index, (one, other) in pairs if one != other), min(len(wanted), len(written)))
    start = max(0, first - 20)
    return f"{written[start : start + 60]!r}, not {wanted[start : start + 60]!r}"


def _remarks(chat: ChatFormat, script: Script) -> Iterator[str]:
    yield "Written by twinctl: the prompts are those of the model's own chat template."
    if script.left_out:
        yield f"What it does not take is left out here: {'; '.join(script.left_out)}."
    if script.unsupported:
        words = ", ".join(ascii(word) for word in script.unsupported)
        yield f"A message that holds one of these is written in another way by it, but not by Ollama: {words}"
    if WRITES_THE_DATE in chat.template.text:
        yield "It writes the day's date; Ollama writes that of the export."


def _one_name(file_name: str) -> str:
    if (
        "/" in file_name
        or not file_name.isprintable()
        or file_name != file_name.strip()
        or file_name in ("", ".", "..")
    ):
        raise ConfigError(f"{file_name!r} is no file name for a Modelfile", "give the run another name")
    return file_name


def _quoted(text: str, what: str) -> str:
    """The text as a quoted value of a Modelfile. Raises ConfigError for one that Ollama would read differently."""
    quotes = '"""' if set('"\n') & set(text) else '"'
    value = f"{quotes}{text}{quotes}"
    with suppress(CheckFailed):
        if commands(f"SYSTEM {value}\n") == [("system", text)]:
            return value
    odd = "".join(dict.fromkeys(letter for letter in text if not _is_kept(letter)))
    why = f"Ollama drops {odd!r}" if odd else 'it has """'
    raise ConfigError(f"a Modelfile cannot hold {what}: {why}", "take that out of it")


# Reading, as Ollama's parser/parser.go does


def _is_kept(letter: str) -> bool:
    """Ollama drops everything else that is not white space."""
    return letter.isprintable() or letter in "\n\r\t"


def commands(text: str) -> list[tuple[str, str]]:
    """A Modelfile's commands and their values, as Ollama reads them; a parameter by its own name.

    Raises CheckFailed for a text that Ollama would refuse.
    """
    values: list[tuple[str, str]] = []
    lines: Sequence[str] = re.split(r"(?<=[\r\n])", "".join(filter(_is_kept, text)))
    index = 0
    while index < len(lines):
        head = re.fullmatch(r"[ \t]*(?:(?:#.*)?|(?:PARAMETER[ \t]+)?(\w+)[ \t](.*))", lines[index].rstrip("\r\n"))
        if head is None:
            raise CheckFailed(f"Ollama would not understand the Modelfile's line {lines[index][:80]!r}")
        value, index = head.group(2) or "", index + 1
        while (whole := _unquoted(value.strip())) is None and index < len(lines):
            value, index = value + lines[index - 1][-1] + lines[index].rstrip("\r\n"), index + 1
        if whole is None:
            raise CheckFailed(f"the Modelfile's {head.group(1)} has no end")
        if head.group(1):
            values.append((head.group(1).lower(), whole))
    return values


def _unquoted(value: str) -> str | None:
    """The value without its quotes; None where they are not closed yet."""
    for quotes in ('"""', '"'):
        if value.startswith(quotes):
            ends = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            return value[len(quotes) : -len(quotes)] if ends else None
    return value
