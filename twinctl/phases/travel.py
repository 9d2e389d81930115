"""twinctl.json: what goes with a pushed result, so that a pull can make a run of it again.

What must stay true: it holds pins, recipes, figures, template and digests, and neither rows nor a name or path of this
machine; a document of a newer twinctl is refused, never guessed at; every file that a pull takes is listed by size and
sha256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel as Document
from pydantic import ConfigDict, Field, ValidationError

from twinctl import __version__
from twinctl.errors import ConfigError
from twinctl.phases.base_model import BUNDLED, base_of
from twinctl.phases.upstream import Found, ancestors, made_from, tokens_info
from twinctl.recipes.push import Kind
from twinctl.workspace.artifact import Record
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

FILE = "twinctl.json"
SCHEMA = 1
# Of the tokens: figures, and no source's name, title or digest, which tell of somebody's files.
_FIGURES = (
    *("rows_read", "rows_kept", "rows_dropped", "rows_by_role", "train_rows", "eval_rows", "packed_rows"),
    *("tokens", "tokens_by_role", "trained_tokens", "packing_efficiency"),
)
_OF_A_SOURCE = ("role", "read", "tokens", "samples", "train", "eval", "dropped")
_POINTS = 400


class File(Document):
    """One file of a result."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[^/\\\x00-\x1f]+$", max_length=255)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Made(Document):
    """One result: what was asked, and what came of it. `files` are those of this repository."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slot: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    phase: str
    produces: str
    recipe: dict[str, Any]
    inputs: dict[str, Any]
    digest: str
    metrics: dict[str, Any]
    created: float
    files: tuple[File, ...] = ()


class Travelling(Document):
    """The whole of twinctl.json. `results` are what the repository holds, `line` what they were made from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: int = Field(alias="schema")
    twinctl: str
    kind: Kind
    run: str
    pins: dict[str, Any]
    template: str
    max_length: int
    eos: str | None
    results: tuple[Made, ...] = Field(min_length=1)
    line: tuple[Made, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    evaluations: tuple[tuple[int, float], ...] = ()

    def training(self) -> Made:
        """What the training was asked, and its figures. Raises ConfigError when it is not told."""
        for each in (*self.results, *self.line):
            if "method" in each.recipe:
                return each
        raise ConfigError(f"{FILE} does not tell of the training", "push it again with this version of twinctl")

    def tokens(self) -> Made | None:
        """The same of the tokens."""
        return next((each for each in self.line if each.produces == "tokens"), None)


def travelling(workspace: Workspace, run: Run, kind: Kind, made: Sequence[Found]) -> dict[str, Any]:
    """The document for results of one kind. Raises UpstreamError when what they were made from is gone."""
    _, tokens, tokens_record = made_from(workspace, made[0][2], "tokens")
    line = {record.digest: record for _, _, record in ancestors(workspace, made[0][2])}
    return {
        "schema": SCHEMA,
        "twinctl": __version__,
        "kind": kind,
        "run": run.name,
        "pins": _pins(run),
        **tokens_info(workspace, tokens, tokens_record),
        "results": [_made(record, [*record.files]) for _, _, record in made],
        "line": [_made(record, []) for record in line.values()],
        **_course(workspace, made[0]),
    }


def _pins(run: Run) -> dict[str, Any]:
    base = base_of(run)
    locator = base.repo or (BUNDLED if base.locator == BUNDLED else base.public_name)
    model = {"locator": locator, "repo": base.repo, "revision": base.revision, "sha": base.sha, "files": base.files}
    return {**{name: run.pins[name] for name in ("preset", "template", "max_length")}, "model": model}


def _made(record: Record, files: list[Mapping[str, Any]]) -> dict[str, Any]:
    if record.produces == "tokens":
        metrics, inputs = _of_tokens(record)
    else:
        metrics, inputs = dict(record.metrics), dict(record.inputs)
    return {
        "slot": record.slot,
        "phase": record.phase,
        "produces": record.produces,
        "recipe": dict(record.recipe),
        "inputs": inputs,
        "digest": record.digest,
        "metrics": metrics,
        "created": record.created,
        "files": [dict(file) for file in files],
    }


def _of_tokens(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its figures and its sources: of those on the Hub which they are, of local ones the formats alone."""
    counted, asked = record.metrics.get("sources", ()), record.inputs.get("sources", ())
    told = [{name: each[name] for name in _OF_A_SOURCE if name in each} for each in counted]
    for each, source in zip(told, counted, strict=True):
        if str(source.get("name", "")).startswith("bundled:"):
            each["name"] = source["name"]
    sources = []
    for each in asked:
        public = {name: each[name] for name in ("repo", "sha", "split") if each.get("repo")}
        local = {"files": [["", file[1], ""] for file in each.get("files", ())]}
        sources.append({"role": each.get("role", "author"), **(public or local)})
    figures = {name: record.metrics[name] for name in _FIGURES if name in record.metrics}
    return {**figures, "sources": told}, {"sources": sources}


def _course(workspace: Workspace, first: Found) -> dict[str, list[tuple[int, float]]]:
    """The losses of the training by step, thinned out."""
    line = [first, *ancestors(workspace, first[2])]
    training = next((artifact for _, artifact, record in line if "method" in record.recipe), None)
    found: dict[str, dict[int, float]] = {"step": {}, "evaluation": {}}
    for event in training.events() if training else ():
        value = event.get("loss" if event["event"] == "step" else "eval_loss")
        if event["event"] in found and isinstance(value, int | float):
            found[event["event"]][int(event.get("step") or 0)] = float(value)
    thinned = {name: sorted(values.items()) for name, values in found.items()}
    thinned = {name: values[:: -(-len(values) // _POINTS) or 1] for name, values in thinned.items()}
    return {"losses": thinned["step"], "evaluations": thinned["evaluation"]}


def read(text: bytes, repo: str) -> Travelling:
    """The document of a repo. Raises ConfigError when it is damaged, or of a newer twinctl."""
    import json

    try:
        stored = json.loads(text)
        if isinstance(stored, dict) and isinstance(stored.get("schema"), int) and stored["schema"] > SCHEMA:
            raise ConfigError(f"{repo} was pushed by a newer twinctl ({stored.get('twinctl')})", "update twinctl")
        return Travelling.model_validate(stored)
    except (ValueError, ValidationError) as error:
        raise ConfigError(
            f"the {FILE} of {repo} cannot be read",
            f"look at it on the Hub; or push the twin again: {FILE} is made anew",
        ) from error
