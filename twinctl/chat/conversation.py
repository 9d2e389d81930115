"""A conversation: who is asked, how, and what was said so far.

What must stay true: a question is kept before it is asked and its answer as soon as it ends; everyone who is asked at
once gets the same messages and seed; a failure or a Ctrl-C ends the answer, never the conversation.
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
    """What the commands change. `name` is who is talked to; `together`: everybody is asked, side by side."""

    line_input: LineInput

    def __init__(
        self, screen: Screen, loading: Loading, name: str, sampling: Sampling, talk: Transcript, prompts: Prompts
    ) -> None:
        self.screen, self.name, self.sampling, self.talk, self.prompts = screen, name, sampling, talk, prompts
        self.home = name
        self.together = False
        self._loading = loading
        self._dropped = 0
        self._told: set[str] = set()

    @property
    def speakers(self) -> Mapping[str, ChatModel]:
        """Everybody who is here, by name; waits until they are loaded."""
        return self._loading.speakers(self.screen)

    @property
    def failed(self) -> bool:
        """Whether there is nobody to talk to."""
        return self._loading.error is not None

    @property
    def label(self) -> str:
        """Who is asked next."""
        return f"{self.name} + all" if self.together else self.name

    @property
    def last(self) -> Turn:
        """The last turn. Raises UsageError before the first one."""
        if not self.talk.turns:
            raise UsageError("nothing was asked yet", "type a question, or /prompts for some")
        return self.talk.turns[-1]

    def ask(self, question: str, *, together: bool = False) -> None:
        """Ask, show the answer as it comes, and keep it."""
        self.talk.ask(question, self.sampling)
        self._reply(self.sampling, together or self.together)

    def retry(self) -> None:
        """Ask the last question again, with another seed if it was answered."""
        last = self.last
        seed = last.answer.seed + 1 if last.answer else self.sampling.seed
        self._reply(self.sampling.model_copy(update={"seed": seed}), self.together or bool(last.beside))
        if last.answer and not self.sampling.temperature:
            self.screen.note("greedy answers do not depend on the seed; to have others: /set temperature 0.7")

    def _reply(self, sampling: Sampling, together: bool) -> None:
        """The answers to the last question; a turn that gets none is taken back."""
        try:
            speakers = self.speakers
            with self.screen.echo_off():
                self._hear(speakers if together else {self.name: speakers[self.name]}, sampling)
        except KeyboardInterrupt:
            self.screen.note("stopped")
        except TwinctlError as error:
            if self.failed or isinstance(error, Interrupted):
                raise
            self.screen.error(error)
        if self.talk.turns and self.talk.turns[-1].answer is None:
            self.talk.undo()
        self._tell_once("fault", f"this talk is not kept: {self.talk.fault}" if self.talk.fault else "")

    def _hear(self, speakers: Mapping[str, ChatModel], sampling: Sampling) -> None:
        *before, last = self.talk.turns
        earlier = [Exchange(turn.question, turn.answer.text if turn.answer else "") for turn in before]
        views = {name: view_of(earlier, last.question, speaker, sampling) for name, speaker in speakers.items()}
        for name, view in views.items():
            self._tell_what_is_unseen(speakers[name], view)
        with self.screen.panes(list(speakers)) as panes:
            for name, speaker in speakers.items():
                panes.begin(name)
                answer = speaker.answer(views[name].messages, sampling, panes.show)
                panes.end(answer_stats(answer, self.sampling))
                if answer.text or answer.finish != "interrupted":
                    self.talk.answer(name, answer, sampling, beside=name != self.name)
                if answer.finish == "interrupted":
                    break

    def _tell_what_is_unseen(self, speaker: ChatModel, view: View) -> None:
        if speaker.is_single_turn and len(self.talk.turns) > 1:
            self._tell_once("single", "the template is made for single turns: each question is seen alone")
        if view.dropped > self._dropped:
            turns = "turn is" if view.dropped == 1 else f"{view.dropped} turns are"
            self.screen.note(f"the oldest {turns} not seen any more: the window is {speaker.context} tokens")
        self._dropped = max(view.dropped, self._dropped)

    def _tell_once(self, key: str, text: str) -> None:
        if text and key not in self._told:
            self._told.add(key)
            self.screen.note(text)

    def forget(self) -> None:
        """What was said of the talk so far is not said of another one."""
        self._dropped = 0
