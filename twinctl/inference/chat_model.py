"""The protocol of a model that answers: one answer streamed, or many at once, and the size of its window.

What must stay true: an answer is the same text whether it is shown as it comes or not at all; it holds no special token
and no part of a stop text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from twinctl.config.sampling import Sampling
from twinctl.data.template import MODEL, Message, Template
from twinctl.errors import ConfigError

if TYPE_CHECKING:
    from twinctl.data.tokenizer import TextTokenizer

Finish = Literal["stop", "length", "interrupted"]
Show = Callable[[str], None]

DEFAULT_WINDOW = 8192  # tokens of a conversation with a model made for more: an 8B's cache then takes 1 GiB
SINGLE_TURN = "### Instruction:"  # in alpaca's template, which is made for one question and its answer


@dataclass(frozen=True)
class Answer:
    """One answer. `finish`: stop (its own stop token or a stop text), length (max_new_tokens, or the window's end) or
    interrupted. `seconds` counts from the prompt to the end, `first_token_seconds` to the first token.
    """

    text: str
    tokens: int
    finish: Finish
    seconds: float
    prompt_tokens: int = 0
    first_token_seconds: float = 0.0
    seed: int = 0
    specials: int = 0  # special tokens in its middle, which are not text: a model should write none

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class PromptFormat:
    """How a model is asked: chat template, stop token (None: the tokenizer's own), and the tokenizer's folder."""

    template: str
    eos: str | None
    tokenizer: Path

    def load(self) -> tuple[TextTokenizer, Template]:
        """The tokenizer, and the template as it is used with it. Raises what `TextTokenizer.load` raises."""
        from twinctl.data.tokenizer import TextTokenizer

        tokenizer = TextTokenizer.load(self.tokenizer)
        eos = self.eos or tokenizer.eos
        marks = {**tokenizer.named, "eos_token": eos}
        return tokenizer, Template(MODEL, self.template, tokenizer.bos, eos, -1, marks)


@dataclass(frozen=True)
class ModelFiles:
    """What a model is loaded from: a whole `model`, or an `adapter` on its `base`, or with neither the base alone.

    Template, stop token and length are those of the tokens that it was trained on. `log` gets what libraries print.
    """

    base: Path
    template: str
    eos: str | None
    max_length: int
    log: Path
    adapter: Path | None = None
    model: Path | None = None


class ChatModel(Protocol):
    """A loaded model that answers. Messages are {"role": system, user or assistant, "content": text}."""

    name: str
    context: int  # the tokens that a prompt and its answer can have together
    is_single_turn: bool  # its template shows the last question alone, no earlier turns

    def count(self, messages: list[Message]) -> int:
        """The tokens of the conversation as a prompt. Raises ConfigError if the template refuses it."""
        ...

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        """Answer the conversation, whose last message is the user's; `show` gets each piece of text as it comes.

        Pieces are whole characters, and together the answer's text. `sampling.system` is not added: see `opening`.
        A KeyboardInterrupt during the answer ends it as "interrupted", with what came. Raises ConfigError for a prompt
        that leaves no room in the window, EngineError if memory does not suffice.
        """
        ...

    def answers(self, conversations: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        """Answers to many conversations in their order, in batches where that is faster; `seconds` is then the batch's.

        A batch rounds in another way than one conversation alone, so a near tie can have another result, and random
        draws differ.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


def opening(sampling: Sampling) -> list[Message]:
    """The first messages of a conversation: the system message, or nothing."""
    return [{"role": "system", "content": sampling.system}] if sampling.system else []


def question_messages(question: str, sampling: Sampling) -> list[Message]:
    """The messages that ask a question on its own, after the system message."""
    return [*opening(sampling), {"role": "user", "content": question}]


def is_made_for_single_turns(template: str) -> bool:
    """Whether a chat template is made for one question and its answer."""
    return SINGLE_TURN in template


def last_question(messages: list[Message]) -> list[Message]:
    """The system message and the last question, which is what a single-turn template shows of a conversation."""
    return [message for message in messages[:-1] if message["role"] == "system"] + messages[-1:]


def refuse_long(tokens: int, context: int, name: str = "the prompt") -> None:
    """Raise ConfigError for a prompt that leaves no room for an answer."""
    if tokens >= context:
        raise ConfigError(
            f"{name} has {tokens} tokens, and the model's window is {context}, the answer included",
            "shorten the prompt",
        )
