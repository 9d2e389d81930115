"""A conversation: which models are asked, with what sampling, and the turns so far.

What must stay true: a question is saved before it is asked and its answer as soon as it ends; models that are asked at
once get the same messages and seed; a failure or a Ctrl-C ends the answer, never the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twinctl.chat.answer_stats import answer_stats
from twinctl.chat.line_input import LineInput
from twinctl.chat.loading import Loading
from twinctl.chat.screen import Screen
from twinctl.chat.transcripts import Transcript, Turn
from twinctl.config.sampling import Sampling
from twinctl.errors import Interrupted, TwinctlError, UsageError
from twinctl.inference.chat_model import ChatModel
from twinctl.inference.context_window import Exchange, View, view_of

Prompts = Callable[[], Sequence[str]]


class Conversation:
    """The state that the commands change. `name`: the model that is asked; `together`: all models are, side by side."""

    line_input: LineInput

    def __init__(
        self, screen: Screen, loading: Loading, name: str, sampling: Sampling, transcript: Transcript, prompts: Prompts
    ) -> None:
        self.screen, self.name, self.sampling = screen, name, sampling
        self.transcript, self.prompts = transcript, prompts
        self.home = name
        self.together = False
        self._loading = loading
        self._dropped = 0
        self._noted: set[str] = set()

    @property
    def models(self) -> Mapping[str, ChatModel]:
        """All models, by name; waits until they are loaded."""
        return self._loading.models(self.screen)

    @property
    def failed(self) -> bool:
        """Whether the models could not be loaded."""
        return self._loading.error is not None

    @property
    def label(self) -> str:
        """The prompt's label: the model that is asked next."""
        return f"{self.name} + all" if self.together else self.name

    @property
    def last(self) -> Turn:
        """The last turn. Raises UsageError before the first one."""
        if not self.transcript.turns:
            raise UsageError("nothing was asked yet", "type a question, or /prompts for some")
        return self.transcript.turns[-1]

    def ask(self, question: str, *, together: bool = False) -> None:
        """Ask, show the answer as it comes, and save it."""
        self.transcript.ask(question, self.sampling)
        self._reply(self.sampling, together or self.together)

    def retry(self) -> None:
        """Ask the last question again, with another seed if it was answered."""
        last = self.last
        seed = last.answer.seed + 1 if last.answer else self.sampling.seed
        self._reply(self.sampling.model_copy(update={"seed": seed}), self.together or bool(last.beside))
        if last.answer and not self.sampling.temperature:
            self.screen.note("greedy answers do not depend on the seed; to get others: /set temperature 0.7")

    def _reply(self, sampling: Sampling, together: bool) -> None:
        """The answers to the last question; a turn that gets none is taken back."""
        try:
            models = self.models
            with self.screen.echo_off():
                self._show_answers(models if together else {self.name: models[self.name]}, sampling)
        except KeyboardInterrupt:
            self.screen.note("stopped")
        except TwinctlError as error:
            if self.failed or isinstance(error, Interrupted):
                raise
            self.screen.error(error)
        if self.transcript.turns and self.transcript.turns[-1].answer is None:
            self.transcript.undo()
        if fault := self.transcript.fault:
            self._note_once("fault", f"this conversation is not saved: {fault}")

    def _show_answers(self, models: Mapping[str, ChatModel], sampling: Sampling) -> None:
        *before, last = self.transcript.turns
        earlier = [Exchange(turn.question, turn.answer.text if turn.answer else "") for turn in before]
        views = {name: view_of(earlier, last.question, model, sampling) for name, model in models.items()}
        for name, view in views.items():
            self._note_unseen_turns(models[name], view)
        with self.screen.panes(list(models)) as panes:
            for name, model in models.items():
                panes.begin(name)
                answer = model.answer(views[name].messages, sampling, panes.show)
                panes.end(answer_stats(answer, self.sampling))
                if answer.text or answer.finish != "interrupted":
                    self.transcript.answer(name, answer, sampling, beside=name != self.name)
                if answer.finish == "interrupted":
                    break

    def _note_unseen_turns(self, model: ChatModel, view: View) -> None:
        if model.is_single_turn and len(self.transcript.turns) > 1:
            self._note_once("single", "the template is made for single turns: each question is seen alone")
        if view.dropped > self._dropped:
            turns = "turn is" if view.dropped == 1 else f"{view.dropped} turns are"
            self.screen.note(f"the oldest {turns} not seen any more: the window is {model.context} tokens")
        self._dropped = max(view.dropped, self._dropped)

    def _note_once(self, key: str, text: str) -> None:
        if key not in self._noted:
            self._noted.add(key)
            self.screen.note(text)

    def reset(self) -> None:
        """Start anew for a cleared conversation: its unseen turns are noted again."""
        self._dropped = 0
