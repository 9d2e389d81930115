"""A model is loaded while its first question is typed.

What must stay true: an error of loading is raised where the model is used, never lost in the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from twinctl.chat.screen import Screen
from twinctl.inference.chat_model import ChatModel

Load = Callable[[], Sequence[ChatModel]]


class Loading(threading.Thread):
    """Loads chat models in a thread."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self._load = load
        self._began = time.monotonic()
        self._models: Mapping[str, ChatModel] = {}
        self._done = threading.Event()  # a join that Ctrl-C interrupts would count the thread as ended (Python 3.11)
        self.error: BaseException | None = None

    def run(self) -> None:
        """Load the models."""
        try:
            self._models = {model.name: model for model in self._load()}
        except BaseException as error:
            self.error = error
        finally:
            self._done.set()

    @property
    def is_under_way(self) -> bool:
        """Whether the models are still being loaded."""
        return not self._done.is_set()

    @property
    def label(self) -> str:
        """What to show while they are loaded."""
        return f"loading the model … {time.monotonic() - self._began:.0f} s"

    def models(self, screen: Screen) -> Mapping[str, ChatModel]:
        """The models by name, as soon as they are loaded. Raises what loading raised."""
        if self.is_under_way:
            screen.wait(self._done, lambda: self.label)
        if self.error is not None:
            raise self.error
        return self._models
