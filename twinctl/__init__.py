"""twinctl: fine-tune an open-weight language model on one person's writing.

What `twinctl.api` offers is offered here, too, and loaded when it is first used: `import twinctl` alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinctl.api import (
        Answer,
        Chat,
        Event,
        Outcome,
        Project,
        Pulled,
        SlotStatus,
        TwinctlError,
        UploadPlan,
        Verify,
        open,
    )

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Chat",
    "Event",
    "Outcome",
    "UploadPlan",
    "Project",
    "Pulled",
    "SlotStatus",
    "TwinctlError",
    "Verify",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("twinctl.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
