"""A row of any known shape as a conversation or a plain text, or the reason why it is dropped.

What must stay true: a row's shape follows from its columns alone, so rows of several shapes can stand in one file;
texts keep every byte; the reasons are few and fixed, since they are counted; whatever comes back can be learnt: a
conversation asks first, ends with an answer, and has text in every question and answer.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from twinctl.data.file_io import without_surrogates
from twinctl.data.template import Message
from twinctl.errors import ConfigError

NOT_TEXT, NOT_UNICODE, UNKNOWN_ROLE = "not text", "not Unicode", "unknown role"
EMPTY_INSTRUCTION, EMPTY_OUTPUT, EMPTY_TEXT = "empty instruction", "empty output", "empty text"
NO_ANSWER, ANSWER_FIRST = "no answer", "begins with an answer"

# In the order in which they are looked for: the columns that a shape needs, and those that it can have besides.
SHAPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "instruction": (("instruction", "output"), ("input", "system")),
    "prompt": (("prompt", "completion"), ("system",)),
    "messages": (("messages",), ("system",)),
    "sharegpt": (("conversations",), ("system",)),
    "text": (("text",), ("title",)),
}
OURS = tuple(dict.fromkeys(name for needs, more in SHAPES.values() for name in (*needs, *more)))
UNMAPPED = ("tools", "format")
OUTPUTS = ("output", "answer", "response")
PAIR_COLUMNS = {"instruction", "output", "prompt", "completion"}
FORMATS = {"md": "md", "markdown": "md", "html": "html", "htm": "html"}
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "model", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
}


@dataclass(frozen=True, slots=True)
class MessagesRow:
    """Messages to learn from. The first user's has an `input` besides its `content` if an instruction row has one."""

    shape: str
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class TextRow:
    """Plain writing, which is not yet a conversation. `format` is txt, md or html."""

    shape: str
    text: str
    title: str
    format: str


Row = Mapping[str, Any]
Parsed = MessagesRow | TextRow | str
ColumnNames = Mapping[str, str]
"""The columns that a row has: by our name, theirs."""


def column_map(pairs: tuple[str, ...]) -> dict[str, str]:
    """["instruction=question"] as {"instruction": "question"}. Raises ConfigError for another form."""
    columns = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs or ours not in OURS:
            raise ConfigError(
                f"“{pair}” does not map a column",
                f"for example: --map instruction=question --map output=answer; there are {', '.join(OURS)}",
            )
        columns[ours] = theirs
    return columns


def parse_row(row: Row, columns: Mapping[str, str], place: str) -> Parsed:
    """The row's messages or text, or the reason to drop it ("empty instruction", …).

    Raises ConfigError for columns of no known shape; it names the columns and the option that maps them.
    """
    layout = _layout(tuple(row), tuple(columns.items()))
    if layout is None:
        raise _of_no_shape(row, columns, place)
    shape, present = layout
    return PARSERS[shape](row, present)


@lru_cache(maxsize=1024)
def _layout(names: tuple[str, ...], mapped: tuple[tuple[str, str], ...]) -> tuple[str, ColumnNames] | None:
    """The shape of rows with columns of these names; rows come by the thousand and their columns are a few."""
    columns = dict(mapped)
    present = _present(names, columns)
    shape = next((shape for shape, (needs, _) in SHAPES.items() if all(name in present for name in needs)), None)
    if shape is None or any(ours in columns and ours not in present for names in SHAPES[shape] for ours in names):
        return None
    # Half of a pair next to a text is a row whose other half has another name, unless the text was asked for.
    if shape == "text" and "text" not in columns and PAIR_COLUMNS & present.keys():
        return None
    return shape, present


def _present(there: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns that the row has: by our name, theirs."""
    names = {ours: columns.get(ours, ours) for ours in (*OURS, *UNMAPPED)}
    if "output" not in columns:
        names["output"] = next((name for name in OUTPUTS if name in there), "output")
    return {ours: theirs for ours, theirs in names.items() if theirs in there}


def _of_no_shape(row: Row, columns: Mapping[str, str], place: str) -> ConfigError:
    present = _present(row, columns)
    missing = [ours for ours in columns if ours not in present]
    for needs, _ in SHAPES.values():
        missing += [name for name in needs if name not in present and present.keys() & set(needs)]
    there = without_surrogates(", ".join(map(str, row))) or "none"
    if not missing:
        return ConfigError(
            f"{place} has unrecognized columns: {there}",
            "name them: --map instruction=COLUMN --map output=COLUMN, or --map text=COLUMN; what can be read: "
            "twinctl docs data-formats",
        )
    first = missing[0]
    return ConfigError(
        f"{place} has no column “{columns.get(first, first)}”; columns there: {there}", f"name it: --map {first}=COLUMN"
    )


def _instruction(row: Row, columns: ColumnNames) -> Parsed:
    extra = row[columns["input"]] if "input" in columns else None
    return _pair("instruction", row[columns["instruction"]], row[columns["output"]], extra, row, columns)


def _prompt(row: Row, columns: ColumnNames) -> Parsed:
    question, answer = row[columns["prompt"]], row[columns["completion"]]
    if isinstance(question, list) and isinstance(answer, list):
        return _conversation("prompt", [*question, *answer], row, columns)
    return _pair("prompt", question, answer, None, row, columns)


def _text(row: Row, columns: ColumnNames) -> Parsed:
    text, title, format = (row.get(columns.get(name, "")) for name in ("text", "title", "format"))
    text, title = "" if text is None else text, title if isinstance(title, str) else ""
    if bad := _unfit(text, title):
        return bad
    return EMPTY_TEXT if _blank(text) else TextRow("text", text, title, FORMATS.get(str(format).lower(), "txt"))


PARSERS: dict[str, Callable[[Row, ColumnNames], Parsed]] = {
    "instruction": _instruction,
    "prompt": _prompt,
    "messages": lambda row, columns: _conversation("messages", row[columns["messages"]], row, columns),
    "sharegpt": lambda row, columns: _conversation("sharegpt", row[columns["conversations"]], row, columns),
    "text": _text,
}


def _system(row: Row, columns: ColumnNames) -> list[dict[str, Any]]:
    """The columns that become system messages."""
    contents = [row[columns["system"]]] if "system" in columns else []
    contents += [_tools(row[columns["tools"]])] if "tools" in columns else []
    return [{"role": "system", "content": content} for content in contents]


def _tools(value: Any) -> Any:
    """A list of tools, or its JSON text, as words for a system message; nothing for none."""
    if isinstance(value, (list, dict)):
        try:
            value = json.dumps(value, ensure_ascii=False) if value else None
        except (RecursionError, TypeError):  # nested too deeply, or a date of a Parquet file
            return value
    return f"Tools: {value}" if isinstance(value, str) and value.strip() not in ("", "[]", "{}") else None


def _pair(shape: str, question: Any, answer: Any, extra: Any, row: Row, columns: ColumnNames) -> MessagesRow | str:
    """A question, perhaps with an input, and its answer."""
    texts = ["" if text is None else text for text in (question, answer, extra)]
    if bad := _unfit(*texts):
        return bad
    asked, answered, given = texts
    if _blank(asked):
        return EMPTY_INSTRUCTION
    if _blank(answered):
        return EMPTY_OUTPUT
    user = {"role": "user", "content": asked} if _blank(given) else {"role": "user", "content": asked, "input": given}
    lead = _messages(_system(row, columns))
    if isinstance(lead, str):
        return lead
    return MessagesRow(shape, [*lead, user, {"role": "assistant", "content": answered}])


def _conversation(shape: str, turns: Any, row: Row, columns: ColumnNames) -> MessagesRow | str:
    """A list of turns; what follows the last answer is left out."""
    if not isinstance(turns, list):
        return NOT_TEXT
    messages = _messages([*_system(row, columns), *turns])
    if isinstance(messages, str):
        return messages
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if not messages:
        return NO_ANSWER
    if next(message["role"] for message in messages if message["role"] != "system") != "user":
        return ANSWER_FIRST
    empty = {message["role"] for message in messages if _blank(message["content"])}
    if "user" in empty:
        return EMPTY_INSTRUCTION
    return EMPTY_OUTPUT if "assistant" in empty else MessagesRow(shape, messages)


def _messages(turns: list[Any]) -> list[Message] | str:
    """The turns under our names; those of one role in a row are one, and a system message without text is none."""
    messages: list[Message] = []
    for turn in turns:
        message = _message(turn)
        if isinstance(message, str):
            return message
        if message["role"] == "system" and _blank(message["content"]):
            continue
        if messages and messages[-1]["role"] == message["role"]:
            parts = (messages[-1]["content"], message["content"])
            messages[-1]["content"] = "\n\n".join(part for part in parts if part)
        else:
            messages.append(message)
    return messages


def _message(turn: Any) -> Message | str:
    """{role, content} or {from, value} as {role, content}."""
    if not isinstance(turn, Mapping) or turn.get("tool_calls"):
        return NOT_TEXT
    role = ROLES.get(str(turn.get("role") or turn.get("from")).lower())
    if role is None:
        return UNKNOWN_ROLE
    value = turn.get("content")
    content = _joined_parts(turn.get("value") if value is None else value)
    if bad := _unfit(content):
        return bad
    return {"role": role, "content": content}


def _joined_parts(content: Any) -> Any:
    """A list of {"type": "text", "text": …} as one text; anything else as it is."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    parts = [part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return "".join(parts) if len(parts) == len(content) else None


def _unfit(*texts: Any) -> str | None:
    """Why one of these cannot be learnt: it is no text, or has half a surrogate pair, which no tokenizer takes."""
    for text in texts:
        if not isinstance(text, str):
            return NOT_TEXT
        try:
            text.encode()
        except UnicodeEncodeError:
            return NOT_UNICODE
    return None


def _blank(text: str) -> bool:
    return not text or text.isspace()


def normalized_text(text: str) -> str:
    """The text without what does not make it another text: case, white space, Unicode's forms."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
