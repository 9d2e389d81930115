"""What a phase is: a declaration, a plan of one request, and an attempt to carry it out.

What must stay true: a plan's fingerprint is made of what was asked and of its inputs' content, nothing else; where
the inputs are is found out only when there is work to do, so a cache hit runs nothing and opens no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from twinctl.config.recipe import Options, Recipe
from twinctl.pipeline.event import Event, Watch
from twinctl.pipeline.stop import Stop
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import append_line
from twinctl.workspace.fingerprint import ALGORITHM, fingerprint
from twinctl.workspace.workspace import Workspace

if TYPE_CHECKING:
    from twinctl.pipeline.run_view import RunView

# The ending of files that describe a result and are no part of its identity, such as what a proof measured.
REPORT = "proof.json"
ReportProgress = Callable[[int, int], None]  # (done, total)

RecipeT = TypeVar("RecipeT", bound=Recipe)
OptionsT = TypeVar("OptionsT", bound=Options)
InputsT = TypeVar("InputsT")


@dataclass(frozen=True)
class NoInputs:
    """The inputs of a phase that needs to know nothing but its recipe."""


@dataclass(frozen=True)
class Produced:
    """What `run` found. `digest` identifies the result to later phases; None lets the files' digests do it.

    `carried_out`: the recipe whose result this is, where it is not the one that was asked for, which stays unfinished.
    """

    metrics: Mapping[str, Any]
    digest: str | None = None
    warnings: list[str] = field(default_factory=list)
    carried_out: Recipe | None = None


class RestartWorker(Exception):
    """Raised by a phase whose process cannot continue: a fresh one can, with these options."""

    def __init__(self, options: Options, why: str) -> None:
        super().__init__(why)
        self.options, self.why = options, why


@dataclass
class Attempt(Generic[RecipeT, OptionsT, InputsT]):
    """One try at a plan. `inputs` says where things are; the result goes below `out`, partial files below `work`."""

    artifact: Artifact
    number: int
    recipe: RecipeT
    options: OptionsT
    inputs: InputsT
    run_name: str
    stop: Stop = field(default_factory=Stop)
    watch: Watch | None = None

    @property
    def work(self) -> Path:
        """The folder that survives a crash."""
        return self.artifact.work

    @property
    def out(self) -> Path:
        """The folder that becomes the result."""
        return self.artifact.work / "out"

    def event(self, kind: str, **values: Any) -> None:
        """Emit an event of this kind with these values."""
        self.emit(Event(kind, values))

    def emit(self, event: Event) -> None:
        """Append an event to the artifact's, and show it if the attempt is watched."""
        self.artifact.append_event(event.kind, **event.values)
        if self.watch:
            self.watch(event)

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        self.event("stage", text=text)

    def note(self, **facts: Any) -> None:
        """Add facts to this attempt's line in attempts.jsonl: what happened, as against what was asked."""
        append_line(self.artifact.path / "attempts.jsonl", {"attempt": self.number, **facts})


@dataclass(frozen=True)
class Phase(Generic[RecipeT, OptionsT, InputsT]):
    """A phase's declaration. A change of what `run` means raises `version`.

    `inputs`: a frozen dataclass of paths and plain values, which can cross to a worker as JSON. `makes`: the kinds of
    its results. `section`: where in twinctl.toml its settings are, if it has any. `changed`: what but settings and
    upstream makes a finished result stale. `run`: None for an action, which is not cached: see `execute.act`.
    """

    name: str
    version: int
    command: str
    recipe: type[RecipeT]
    options: type[OptionsT]
    inputs: type[InputsT]
    run: Callable[[Attempt[RecipeT, OptionsT, InputsT]], Produced] | None
    makes: tuple[str, ...]
    in_worker: bool = False
    section: str | None = None
    changed: Callable[[RunView, Record], list[str]] = lambda view, record: []


@dataclass(frozen=True)
class Plan(Generic[RecipeT, OptionsT, InputsT]):
    """One request, resolved. `inputs`, the identities of what it is made from, are hashed; `parents`, `options`,
    `origins` and `pins` are not, nor is what `resolve_inputs` finds: where the inputs are here.
    """

    phase: Phase[RecipeT, OptionsT, InputsT]
    slot: str
    slug: str
    produces: str
    recipe: RecipeT
    inputs: Mapping[str, Any]
    parents: Mapping[str, str]
    options: OptionsT
    resolve_inputs: Callable[[], InputsT]
    origins: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, Any] | None = None

    @cached_property
    def payload(self) -> dict[str, Any]:
        """Exactly what is hashed."""
        return {
            "algo": ALGORITHM,
            "phase": self.phase.name,
            "version": self.phase.version,
            "recipe": self.recipe.model_dump(mode="json"),
            "inputs": dict(self.inputs),
        }

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the payload."""
        return fingerprint(self.payload)

    def path(self, workspace: Workspace) -> str:
        """The artifact's folder there, relative to artifacts/."""
        return workspace.artifact_path(self.phase.name, self.slug, self.fingerprint)


AnyAttempt: TypeAlias = Attempt[Any, Any, Any]
AnyPhase: TypeAlias = Phase[Any, Any, Any]
AnyPlan: TypeAlias = Plan[Any, Any, Any]
