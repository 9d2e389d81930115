"""The kinds of results, and what a record says of its own: a phase builds on a kind, whichever phase made it."""

from __future__ import annotations

from enum import StrEnum

from twinctl.workspace.artifact import Record


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


def is_merged(record: Record) -> bool:
    """Whether it is of a 16-bit model that an adapter was merged into."""
    return record.produces == Kind.MODEL and Kind.ADAPTER in record.inputs


def is_trained(record: Record) -> bool:
    """Whether it is of what a training made: an adapter, or a whole model by method full."""
    return record.produces == Kind.ADAPTER or (record.produces == Kind.MODEL and not is_merged(record))


def is_training(record: Record) -> bool:
    """Whether it is of the training itself, not of a later change to the adapter that the training made."""
    return is_trained(record) and Kind.ADAPTER not in record.inputs


def is_exported(record: Record) -> bool:
    """Whether it is of a file that was made from what a training made."""
    return record.produces in (Kind.MODEL_4BIT, Kind.GGUF) or is_merged(record)
