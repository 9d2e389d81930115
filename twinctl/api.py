"""What `import twinctl` offers: the phases as functions over a workspace, without a terminal.

What must stay true: what is done here is what the commands do, with the same settings, results and errors; settings are
given by the recipes' own field names, and go before twinctl.toml and the environment; nothing is printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any

from twinctl.config.export import Precision, Quant
from twinctl.config.prepare import PrepareOptions, PrepareRecipe
from twinctl.config.push import PushKind, PushOptions, PushRecipe
from twinctl.config.resolve import PREFIX, preset_name, values_of
from twinctl.config.sampling import Sampling
from twinctl.config.secrets import load_secrets, refuse_secret
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.data.tokens import EVAL, read_tokens
from twinctl.errors import TwinctlError, UpstreamError, UsageError
from twinctl.inference.chat_model import Answer, ChatModel
from twinctl.inference.context_window import Exchange, view_of
from twinctl.phases import prepare, train
from twinctl.phases.export import ExportRequest, Verify, copy_files, export
from twinctl.phases.export_dir import require_place
from twinctl.phases.pull import Pulled, pull
from twinctl.phases.push import push
from twinctl.phases.push_plan import UploadPlanner, require_sendable
from twinctl.phases.status import SlotStatus, run_status
from twinctl.pipeline.event import Event, Watch
from twinctl.pipeline.execute import Executor, Outcome, execute
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.phase import AnyPlan
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.upload_plan import UploadPlan, repo_for
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

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


def open(
    workspace: str | Path | None = None, run: str | None = None, *, progress: Watch = lambda event: None
) -> Project:
    """The workspace of that folder, else of TWINCTL_WORKSPACE, else ./.twinctl; nothing is made yet.

    `run`: the run to work on, else TWINCTL_RUN, else the current one. `progress`: is called with every event. Reads the
    secrets in ./.env, as the commands do. Raises UpstreamError for a workspace that a newer twinctl made.
    """
    load_secrets()
    root = Path(workspace or os.environ.get(f"{PREFIX}WORKSPACE") or ".twinctl")
    name = run or os.environ.get(f"{PREFIX}RUN")
    refuse_secret("the workspace's path", root)
    refuse_secret("the run's name", name)
    opened = Workspace.open(root)
    return Project(opened, name, _ToCallback(opened, progress))


@dataclass(frozen=True)
class _ToCallback:
    """Carries out plans, and tells a callback what happens."""

    workspace: Workspace
    progress: Watch

    def execute(self, run: str, plan: AnyPlan, *, wait: bool = False, restart: bool = False) -> Outcome:
        with self.watching(plan.slot) as watch:
            outcome = execute(self.workspace, run, plan, watch=watch, wait=wait, restart=restart)
            for warning in outcome.record.warnings:
                watch(Event("warning", {"text": warning}))
        return outcome

    @contextmanager
    def watching(self, slot: str) -> Iterator[Watch]:
        yield lambda event: self.progress(replace(event, phase=slot))

    def say(self, text: str) -> None:
        phase, _, rest = text.partition(": ")
        self.progress(Event("stage", {"text": rest}, phase=phase))


class Project:
    """A workspace and the run that is worked on; `twinctl.open` gives one.

    Every method raises TwinctlError, with `message`, `hint` and the command's `exit_code`. Call them from the main
    thread: while a worker trains, Ctrl-C asks it for a checkpoint.
    """

    def __init__(self, workspace: Workspace, run: str | None, executor: Executor) -> None:
        self.workspace = workspace
        self._run, self._executor = run, executor

    @property
    def path(self) -> Path:
        """The workspace's folder."""
        return self.workspace.root

    @property
    def runs(self) -> list[str]:
        """The names of all runs, oldest first."""
        return self.workspace.runs.names()

    @property
    def run(self) -> str:
        """The name of the run that is worked on. Raises UpstreamError when there is none."""
        return self.workspace.run(self._run).name

    def use(self, run: str) -> None:
        """Work on another run from now on. Raises UpstreamError when there is none of that name."""
        self._run = self.workspace.runs.get(run).name

    def prepare(
        self,
        *,
        preset: str | None = None,
        refresh: bool = False,
        wait: bool = False,
        restart: bool = False,
        **settings: Any,
    ) -> Outcome:
        """Turn writing into tokens, and pin model, data and template in the run, which becomes the current one.

        `settings`: fields of PrepareRecipe and PrepareOptions, such as `data`, `model`, `template` and `max_length`.
        """
        name = self._run or preset_name(preset)
        runs = self.workspace.runs
        known = runs.get(name) if runs.exists(name) else Run(name)
        chosen = preset_name(preset, known.pins.get("preset"))
        values = values_of("prepare", (PrepareRecipe, PrepareOptions), chosen, settings)
        plan = prepare.plan(RunView(self.workspace, known), chosen, values, refresh=refresh)
        outcome = self._executor.execute(name, plan, wait=wait, restart=restart)
        runs.use(name)
        return outcome

    def train(
        self, *, trained_from: str | None = None, wait: bool = False, restart: bool = False, **settings: Any
    ) -> Outcome:
        """Train on the run's tokens, in a worker; on from what the run `trained_from` trained, if it is given.

        `settings`: fields of TrainRecipe and TrainOptions, such as `rank`, `epochs`, `learning_rate` and `tracking`.
        """
        view = self._view()
        values = values_of("train", (TrainRecipe, TrainOptions), view.run.pins["preset"], settings)
        parent = RunView(self.workspace, self.workspace.run(trained_from)) if trained_from else None
        return self._executor.execute(view.name, train.plan(view, values, parent), wait=wait, restart=restart)

    def export(
        self,
        *,
        precision: Sequence[Precision] = (),
        quant: Sequence[Quant] = (),
        adapter: bool = False,
        output: str | Path | None = None,
        verify: Verify = Verify.UNPROVEN,
        wait: bool = False,
        restart: bool = False,
    ) -> list[Outcome]:
        """Make the files to hand out: merged models, GGUF files, the adapter; the merged 16-bit model if none is named.

        `output`: a folder that the files are put into, too.
        """
        if output is not None:
            require_place(Path(output))
        wanted = precision if precision or quant or adapter else ("16bit",)
        request = ExportRequest(adapter, wanted, quant, verify, wait, restart)
        outcomes = export(self._view(), request, self._executor)
        if output is not None:
            copy_files(outcomes, Path(output))
        return outcomes

    def preview_push(
        self, repo: str, kind: PushKind = "model", *, public: bool = False, unverified: bool = False
    ) -> UploadPlan:
        """What a push would send. Changes nothing; a Hub that cannot be asked is a warning."""
        require_sendable(repo, None, "", pull_request=False)
        planner = UploadPlanner(self._view(), self._executor, public=public, unverified=unverified)
        return planner.preview(PushRecipe(repo=repo_for(repo, kind), kind=kind))

    def push(
        self,
        repo: str,
        kind: PushKind = "model",
        *,
        public: bool = False,
        revision: str | None = None,
        pull_request: bool = False,
        message: str = "",
        unverified: bool = False,
        wait: bool = False,
    ) -> Outcome:
        """Send a result to the Hub, exported if need be: private unless `public`, and only what is missing there."""
        require_sendable(repo, revision, message, pull_request=pull_request)
        view = self._view()
        recipe = PushRecipe(repo=repo_for(repo, kind), kind=kind, revision=revision, pull_request=pull_request)
        planner = UploadPlanner(view, self._executor, public=public, unverified=unverified, wait=wait)
        upload = planner.pack(recipe)
        with self._executor.watching("push") as watch:
            return push(view, upload, recipe, PushOptions(public=public, message=message), watch=watch, wait=wait)

    def pull(
        self,
        repo: str,
        *,
        run: str | None = None,
        revision: str | None = None,
        wait: bool = False,
        restart: bool = False,
    ) -> Pulled:
        """Bring a pushed twin back as a run, which is worked on from now on."""
        pulled = pull(self.workspace, repo, self._executor, run=run, revision=revision, wait=wait, restart=restart)
        self.use(pulled.run)
        return pulled

    def status(self, *, verify: bool = False) -> dict[str, list[SlotStatus]]:
        """Every run's artifacts, in which state, why stale, and the command to type; `verify` reads every byte."""
        runs = [self.workspace.runs.get(name) for name in self.runs]
        return {run.name: run_status(RunView(self.workspace, run), verify=verify) for run in runs}

    def results(self) -> dict[str, Outcome]:
        """The run's finished results by slot, such as prepare, train, merge and gguf-q8_0."""
        run = self.workspace.run(self._run)
        return {result.slot: Outcome(result, cached=True) for result in RunView(self.workspace, run).results()}

    def held_out_prompts(self) -> list[str]:
        """The questions that training never saw. Raises UpstreamError before `prepare`."""
        tokens = RunView(self.workspace, self.workspace.run(self._run)).need(Kind.TOKENS)
        prompts: list[str] = read_tokens(tokens.out, EVAL)["prompt"].to_pylist()
        return prompts

    def chat(
        self,
        *,
        with_base: bool = False,
        merged: bool = False,
        gguf: str | None = None,
        checkpoint: int | None = None,
        four_bit: bool = False,
        **sampling: Any,
    ) -> Chat:
        """Load the twin, to ask it: the adapter, the `merged` model, a `gguf` file ("" is the newest), or a
        `checkpoint` of the training. `with_base`: the base model, too.

        `sampling`: fields of Sampling, such as `temperature`, `max_new_tokens` and `system`.
        """
        from twinctl.chat.model_selection import ModelSelection, select_models

        view = self._view()
        values = values_of("chat", (Sampling,), view.run.pins["preset"], sampling).build(Sampling)
        wanted = ModelSelection(
            compare=with_base and not (merged or gguf is not None),
            base=with_base and (merged or gguf is not None),
            merged=merged,
            gguf=gguf,
            checkpoint=checkpoint,
            four_bit=four_bit,
        )
        models = [model for group in select_models(view, wanted) for model in group.load()]
        return Chat(models, values)

    def _view(self) -> RunView:
        """The run, which has tokens. Raises UpstreamError for one that has none."""
        run = self.workspace.run(self._run)
        if "preset" not in run.pins:
            raise UpstreamError(f"run “{run.name}” has no tokens yet", f"twinctl prepare --run {run.name}")
        return RunView(self.workspace, run)


class Chat:
    """Loaded models to ask, in one conversation; `Project.chat` gives one. The last of `models` is the twin.

    Use it in a `with` block, or call `close`: the models hold memory.
    """

    def __init__(self, models: Sequence[ChatModel], sampling: Sampling) -> None:
        self.models = {model.name: model for model in models}
        self.sampling = sampling
        self.exchanges: list[Exchange] = []
        self._twin = models[-1].name

    def ask(self, text: str, *, model: str | None = None) -> Answer:
        """The answer, in view of what was asked before; `model`: of another model than the twin, such as "base"."""
        return self._answer(text, model, lambda piece: None)

    def stream(self, text: str, *, model: str | None = None) -> Iterator[str]:
        """The answer's text, in pieces as they come. Ending the iteration early ends the answer."""
        pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
        is_over = False

        def show(piece: str) -> None:
            if is_over:
                raise KeyboardInterrupt  # ends the answer as “interrupted”
            pieces.put(piece)

        def answer() -> None:
            try:
                self._answer(text, model, show)
                pieces.put(None)
            except BaseException as error:
                pieces.put(error)

        thread = Thread(target=answer, daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            is_over = True
            thread.join()

    def ask_each(self, prompts: Sequence[str], *, model: str | None = None) -> list[Answer]:
        """The answers to many prompts, each on its own, in batches where that is faster."""
        asked = self._named(model)
        return asked.answers([view_of([], prompt, asked, self.sampling).messages for prompt in prompts], self.sampling)

    def reset(self) -> None:
        """Begin another conversation."""
        self.exchanges.clear()

    def close(self) -> None:
        """Free the models."""
        for model in self.models.values():
            model.close()

    def __enter__(self) -> Chat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, text: str, name: str | None, show: Callable[[str], None]) -> Answer:
        model = self._named(name)
        answer = model.answer(view_of(self.exchanges, text, model, self.sampling).messages, self.sampling, show)
        self.exchanges.append(Exchange(text, answer.text))
        return answer

    def _named(self, name: str | None) -> ChatModel:
        if name is not None and name not in self.models:
            raise UsageError(f"there is no model “{name}” in this chat", f"there are: {', '.join(self.models)}")
        return self.models[name or self._twin]
