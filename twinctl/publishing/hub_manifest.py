"""twinctl.json as a document: what may be in it.

What must stay true: it comes from a repository that anybody may have written, and what cards, tables and
commands say of a pulled twin comes from it; so every name, id and figure in it has a form, and nothing in it is a path
or can act on a terminal. A document of a newer twinctl is refused, never guessed at.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from typing_extensions import TypedDict

from twinctl.config.push import PushKind
from twinctl.errors import ConfigError
from twinctl.hub.names import STORED_ID
from twinctl.pipeline.kind import Kind, is_training
from twinctl.workspace.artifact import Record
from twinctl.workspace.run import NAME

FILE = "twinctl.json"
SCHEMA = 1
_ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal obeys

Count = Annotated[int, Field(ge=0, le=10**18)]
Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repo = Annotated[str, Field(pattern=f"^{STORED_ID}$", max_length=200)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=200)]
"""Shown as text, whatever it is."""


class Proof(TypedDict, total=False):
    """How near a file comes to what was trained."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    kl: FiniteFloat | None
    top1: FiniteFloat | None
    positions: Count


class Counts(TypedDict, total=False):
    """Of one source of the data."""

    name: Literal["bundled:author"]
    role: Literal["author", "general"]
    read: Count
    tokens: Count
    samples: Count
    train: Count
    eval: Count
    dropped: dict[Text, Count]


class Figures(TypedDict, total=False):
    """What a phase measured. Cards show no others."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    steps: Count
    epochs: FiniteFloat | None
    tokens: Count
    tokens_per_second: FiniteFloat | None
    peak_memory_gib: FiniteFloat | None
    best_step: Count | None
    eval_loss: FiniteFloat | None
    base_eval_loss: FiniteFloat | None
    train_rows: Count
    eval_rows: Count
    tokens_by_role: dict[Text, Count]
    sources: list[Counts]
    proof: Proof | None


class ManifestSource(TypedDict, total=False):
    """One source of the data: on the Hub, or of local files, of which only the formats are named."""

    role: Literal["author", "general"]
    repo: Repo
    sha: Sha | None
    split: Annotated[str, Field(pattern=r"^[\w\[\]:%+. -]{1,100}$")] | None
    files: list[tuple[Literal[""], Annotated[str, Field(pattern=r"^[\w.+-]{0,20}$")], Literal[""]]]


class Inputs(TypedDict, total=False):
    """What a result was made from, by digest."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    base: Digest
    sources: list[ManifestSource]


class TrainEnv(TypedDict, total=False):
    """How training was carried out."""

    device_name: Text
    dtype: Text
    optimizer: Text
    packing: bool
    micro_batch: Count
    accumulation: Count
    versions: dict[Text, Text]


class File(BaseModel):
    """One file of a result."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[^/\\\x00-\x1f]+$", max_length=255)
    bytes: int = Field(ge=0)
    sha256: Digest


class ManifestResult(BaseModel):
    """One result: what was asked, and what came of it. `files` are those of this repository."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slot: Word
    phase: Word
    produces: Word
    recipe: dict[str, Any]
    inputs: Inputs
    digest: Digest
    fingerprint: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    metrics: Figures
    created: float = Field(ge=0, le=253_402_300_799)
    files: tuple[File, ...] = ()

    def record(self) -> Record:
        """As it was recorded where it was made, but for what does not travel."""
        described = self.model_dump()
        unknown: dict[str, Any] = {"version": 0, "origins": {}, "parents": {}, "warnings": [], "seconds": 0.0}
        return Record.of({**described, **unknown, "files": list(described["files"])})


class Base(BaseModel):
    """The base model, by content and by where it is on the Hub."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    locator: Literal["bundled:base"] | Repo  # hints tell people to type it
    repo: Repo | None = None
    revision: Annotated[str, Field(pattern=r"^\w[\w./-]{0,200}$")] | None = None
    sha: Sha | None = None
    files: dict[Annotated[str, Field(pattern=r"^\w[\w.-]{0,200}$")], Digest]


class Pins(BaseModel):
    """What a run holds on to."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    preset: Word
    template: Word
    max_length: Count
    model: Base


class HubManifest(BaseModel):
    """The whole of twinctl.json. `results` are what the repository holds, `line` what they were made from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: int = Field(alias="schema")
    twinctl: Text
    kind: PushKind
    run: str = Field(pattern=f"^{NAME.pattern}$")
    pins: Pins
    template: str
    max_length: Count
    eos: str | None
    results: tuple[ManifestResult, ...] = Field(min_length=1)
    line: tuple[ManifestResult, ...] = ()
    losses: tuple[tuple[Count, FiniteFloat], ...] = ()
    evaluations: tuple[tuple[Count, FiniteFloat], ...] = ()
    happened: TrainEnv = Field(default_factory=TrainEnv)

    def training(self) -> ManifestResult:
        """What the training was asked, and its figures. Raises ConfigError where there is none."""
        for result in (*self.results, *self.line):
            if is_training(result.record()):
                return result
        raise ConfigError(f"{FILE} does not tell of the training", "push it again with this version of twinctl")

    def tokens(self) -> ManifestResult | None:
        """What the preparation of the tokens was asked, and its figures; None where there is none."""
        return next((result for result in self.line if result.produces == Kind.TOKENS), None)


def read(text: bytes | str, repo: str) -> HubManifest:
    """The document of a repo. Raises ConfigError when it is damaged, or of a newer twinctl."""
    again = f"look at it on the Hub; or push the twin again: {FILE} is rewritten"
    try:
        stored = json.loads(text)
        if isinstance(stored, dict) and isinstance(stored.get("schema"), int) and stored["schema"] > SCHEMA:
            raise ConfigError(f"{repo} was pushed by a newer twinctl", "update twinctl")
        _refuse_acting({**stored, "template": ""})
        return HubManifest.model_validate(stored)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"] if re.fullmatch(r"[\w-]{1,40}", str(part)))
        raise ConfigError(f"the {FILE} of {repo} cannot be read: {place}", again) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the {FILE} of {repo} cannot be read", again) from error


def _refuse_acting(value: Any) -> None:
    """Raise ValueError for a text, wherever in the document, that a terminal would obey."""
    if isinstance(value, str) and _ACTING.search(value):
        raise ValueError("a control character")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for item in value if isinstance(value, list) else ():
        _refuse_acting(item)
