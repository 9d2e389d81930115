"""The kinds of results that a phase can build on, whichever phase made them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A kind of result."""

    TOKENS = "tokens"
    ADAPTER = "adapter"
    MODEL = "model"
    MODEL_4BIT = "model-4bit"
    GGUF = "gguf"

    @property
    def command(self) -> str:
        """What to type after `twinctl` to make one."""
        return _COMMANDS[self]


_COMMANDS = {
    Kind.TOKENS: "prepare",
    Kind.ADAPTER: "train",
    Kind.MODEL: "export",
    Kind.MODEL_4BIT: "export --merged 4bit",
    Kind.GGUF: "export --gguf",
}
