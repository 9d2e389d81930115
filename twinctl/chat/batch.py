"""Prompts without a person at the keyboard: from options, a pipe or a file; answers as lines for programs.

What must stay true: a line is one answer of one model to one prompt, with all that is needed to get it again; a bad
line of a file is named, before anything is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.chat.model_selection import ModelGroup
from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.errors import ConfigError
from twinctl.inference.chat_model import Answer, ChatModel, Show, opening, question_messages, refuse_long

PROMPTS_AT_ONCE = 64  # prompts that a model gets at once, to sort into its batches
MESSAGE_ROLES = {"system", "user", "assistant"}


@dataclass(frozen=True)
class Prompt:
    """`text` is the last question; `messages` the conversation that ends with it."""

    text: str
    messages: list[Message]

    @classmethod
    def of(cls, text: str, sampling: Sampling) -> Prompt:
        """A question on its own, after the system message."""
        return cls(text, question_messages(text, sampling))


def prompts_of(texts: Iterable[str], sampling: Sampling) -> list[Prompt]:
    """Each text on its own; empty ones are left out."""
    return [Prompt.of(text.strip("\r\n"), sampling) for text in texts if text.strip()]


def read_prompts(path: Path, sampling: Sampling) -> list[Prompt]:
    """A file of JSON lines: a text, {"prompt": text}, {"instruction": …, "input": …} or {"messages": […]}.

    Raises ConfigError naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", "give a file of JSON lines: --prompts FILE.jsonl"
        ) from error
    prompts = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            prompt = _read_prompt(line, sampling)
            if prompt is None:
                raise ConfigError(
                    f"{path}:{number} is no prompt: {line[:60]}",
                    'write a text in quotes, {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}',
                )
            prompts.append(prompt)
    return prompts


def _read_prompt(line: str, sampling: Sampling) -> Prompt | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if isinstance(value, dict) and "messages" in value:
        return _read_messages(value["messages"], sampling)
    if isinstance(value, dict):
        parts = (value.get("prompt", value.get("instruction")), value.get("input") or None)
        value = "\n\n".join(part for part in parts if isinstance(part, str))
    return Prompt.of(value, sampling) if isinstance(value, str) and value.strip() else None


def _read_messages(messages: Any, sampling: Sampling) -> Prompt | None:
    """A conversation that ends with a question; a system message in it takes precedence over the command's."""

    def is_message(value: Any) -> bool:
        return isinstance(value, dict) and value.get("role") in MESSAGE_ROLES and isinstance(value.get("content"), str)

    is_valid = isinstance(messages, list) and messages and all(map(is_message, messages))
    if not is_valid or messages[-1]["role"] != "user":
        return None
    conversation = [{"role": message["role"], "content": message["content"]} for message in messages]
    system = [] if conversation[0]["role"] == "system" else opening(sampling)
    return Prompt(conversation[-1]["content"], [*system, *conversation])


@dataclass(frozen=True)
class PromptAnswer:
    """One answer of the model of that name."""

    model: str
    prompt: Prompt
    answer: Answer

    def line(self, sampling: Sampling) -> dict[str, Any]:
        """The JSON line of the answer."""
        answer = self.answer
        return {
            "model": self.model,
            "prompt": self.prompt.text,
            "text": answer.text,
            "tokens": answer.tokens,
            "finish": answer.finish,
            "seed": sampling.seed,
            "tokens_per_second": round(answer.tokens_per_second, 1),
            "seconds": round(answer.seconds, 3),
            "first_token_seconds": round(answer.first_token_seconds, 3),
            "prompt_tokens": answer.prompt_tokens,
        }


def answer_in_batches(
    models: Iterable[ChatModel], prompts: Sequence[Prompt], sampling: Sampling
) -> Iterator[PromptAnswer]:
    """Every model's answers, in batches, each as soon as its batch is complete."""
    for model in models:
        _refuse_long(model, prompts)
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            batch = prompts[start : start + PROMPTS_AT_ONCE]
            answers = model.answers([prompt.messages for prompt in batch], sampling)
            for prompt, answer in zip(batch, answers, strict=True):
                yield PromptAnswer(model.name, prompt, answer)


def stream_answers(
    models: Iterable[ChatModel],
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    begin: Callable[[str], None],
    show: Show,
) -> Iterator[PromptAnswer]:
    """Every model's answers one by one; `begin` gets the model's name before, and `show` each piece of text."""
    for model in models:
        _refuse_long(model, prompts)
        for prompt in prompts:
            begin(model.name)
            yield PromptAnswer(model.name, prompt, model.answer(prompt.messages, sampling, show))


def _refuse_long(model: ChatModel, prompts: Sequence[Prompt]) -> None:
    """Raise ConfigError for a prompt that does not fit, before another one is answered in vain."""
    for number, prompt in enumerate(prompts, 1):
        name = f"prompt {number} (“{prompt.text[:40].strip()}…”)" if len(prompts) > 1 else "the prompt"
        refuse_long(model.count(prompt.messages), model.context, name)


def load_in_turn(groups: Iterable[ModelGroup], before: Callable[[ModelGroup], None]) -> Iterator[ChatModel]:
    """The models of each group, which are closed before the next group is loaded; `before` is called with a group
    before it is loaded.
    """
    for group in groups:
        before(group)
        models = group.load()
        try:
            yield from models
        finally:
            for model in models:
                model.close()
