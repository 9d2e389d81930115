"""Prompts without a person at the keyboard: from options, a pipe or a file; answers as lines for programs.

What must stay true: a line is one answer of one speaker to one prompt, with all that is needed to get it again; a bad
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
from twinctl.inference.chat_model import Answer, ChatModel, Show, opening, refuse_long

PROMPTS_AT_ONCE = 64  # prompts that a speaker gets at once, to sort into its batches
MESSAGE_ROLES = {"system", "user", "assistant"}


@dataclass(frozen=True)
class Prompt:
    """`text` is the last question; `messages` the talk that ends with it."""

    text: str
    messages: list[Message]

    @classmethod
    def of(cls, text: str, sampling: Sampling) -> Prompt:
        """A question on its own, behind the system message."""
        return cls(text, [*opening(sampling), {"role": "user", "content": text}])


def prompts_of(texts: Iterable[str], sampling: Sampling) -> list[Prompt]:
    """Each text on its own; empty ones are passed over."""
    return [Prompt.of(text.strip("\r\n"), sampling) for text in texts if text.strip()]


def read_prompts(path: Path, sampling: Sampling) -> list[Prompt]:
    """A file of JSON lines: a text, {"prompt": text}, {"instruction": …, "input": …} or {"messages": […]}.

    Raises ConfigError naming the line.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", "give a file of JSON lines: --prompts FILE.jsonl"
        ) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            prompt = _prompt(line, sampling)
            if prompt is None:
                raise ConfigError(
                    f"{path}:{number} is no prompt: {line[:60]}",
                    'write a text in quotes, {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}',
                )
            found.append(prompt)
    return found


def _prompt(line: str, sampling: Sampling) -> Prompt | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if isinstance(value, dict) and "messages" in value:
        return _talk(value["messages"], sampling)
    if isinstance(value, dict):
        parts = (value.get("prompt", value.get("instruction")), value.get("input") or None)
        value = "\n\n".join(part for part in parts if isinstance(part, str))
    return Prompt.of(value, sampling) if isinstance(value, str) and value.strip() else None


def _talk(messages: Any, sampling: Sampling) -> Prompt | None:
    """A talk that somebody else began; its own system message counts before the command's."""
    whole = isinstance(messages, list) and messages and all(_is_message(message) for message in messages)
    if not whole or messages[-1]["role"] != "user":
        return None
    talk = [{"role": message["role"], "content": message["content"]} for message in messages]
    before = [] if talk[0]["role"] == "system" else opening(sampling)
    return Prompt(talk[-1]["content"], [*before, *talk])


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("role") in MESSAGE_ROLES and isinstance(value.get("content"), str)


@dataclass(frozen=True)
class PromptAnswer:
    """One answer of one speaker."""

    speaker: str
    prompt: Prompt
    answer: Answer

    def line(self, sampling: Sampling) -> dict[str, Any]:
        """What a program needs of it."""
        answer = self.answer
        return {
            "model": self.speaker,
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
    speakers: Iterable[ChatModel], prompts: Sequence[Prompt], sampling: Sampling
) -> Iterator[PromptAnswer]:
    """Every speaker's answers, in batches, each as soon as its batch is there."""
    for speaker in speakers:
        _refuse_long(speaker, prompts)
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            part = prompts[start : start + PROMPTS_AT_ONCE]
            answers = speaker.answers([prompt.messages for prompt in part], sampling)
            yield from (
                PromptAnswer(speaker.name, prompt, answer) for prompt, answer in zip(part, answers, strict=True)
            )


def stream_answers(
    speakers: Iterable[ChatModel],
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    begin: Callable[[str], None],
    show: Show,
) -> Iterator[PromptAnswer]:
    """The same one by one, each shown as it comes; `begin` gets the speaker's name before."""
    for speaker in speakers:
        _refuse_long(speaker, prompts)
        for prompt in prompts:
            begin(speaker.name)
            yield PromptAnswer(speaker.name, prompt, speaker.answer(prompt.messages, sampling, show))


def _refuse_long(speaker: ChatModel, prompts: Sequence[Prompt]) -> None:
    """Raise ConfigError for a prompt that does not fit, before another one is answered in vain."""
    for number, prompt in enumerate(prompts, 1):
        name = f"prompt {number} (“{prompt.text[:40].strip()}…”)" if len(prompts) > 1 else "the prompt"
        refuse_long(speaker.count(prompt.messages), speaker.context, name)


def load_in_turn(voices: Iterable[ModelGroup], before: Callable[[ModelGroup], None]) -> Iterator[ChatModel]:
    """The speakers, those of the same weights loaded together and closed before the next are loaded.

    `before` is told what is loaded now.
    """
    for group in voices:
        before(group)
        speakers = group.load()
        try:
            yield from speakers
        finally:
            for speaker in speakers:
                speaker.close()
