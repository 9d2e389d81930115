"""What goes with a pushed result, so that a pull can make a run of it again, and a card can describe it.

What must stay true: it holds pins, recipes, figures, template and digests, and neither rows nor a name or path of this
machine; of what was pulled it says the same as where it was made, from the document that came with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

from twinctl import __version__
from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import BUNDLED
from twinctl.pipeline.kind import Kind, is_training
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.history import History
from twinctl.publishing.hub_manifest import SCHEMA, HubManifest, TrainEnv, read
from twinctl.workspace.artifact import Artifact, FileEntry, Record
from twinctl.workspace.files import write_text

ORIGIN = "origin.json"
"""The document that is kept with a pulled result."""
# Of the tokens: figures, and no source's name, title or digest, which would show what files a person has.
_FIGURES = (
    *("rows_read", "rows_kept", "rows_dropped", "rows_by_role", "train_rows", "eval_rows", "packed_rows"),
    *("tokens", "tokens_by_role", "trained_tokens", "packing_efficiency"),
)
_OF_A_SOURCE = ("role", "read", "tokens", "samples", "train", "eval", "dropped")
_POINTS = 400


def keep_origin(artifact: Artifact, manifest: HubManifest) -> str:
    """Write the document next to a pulled result; returns its sha256, which belongs into the record."""
    text = manifest.model_dump_json(by_alias=True, indent=2)
    write_text(artifact.path / ORIGIN, text)
    return hashlib.sha256(text.encode()).hexdigest()


def _origin(result: Result) -> HubManifest | None:
    """The document of a pulled result; None of another. Raises UpstreamError when it is not the one that came."""
    pulled = result.record.metrics.get("pulled") or {}
    if not pulled.get("origin"):
        return None
    path = result.artifact.path / ORIGIN
    text = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(text).hexdigest() != pulled["origin"]:
        raise UpstreamError(f"{path} is not the file that was pulled", f"twinctl pull {pulled['repo']} --restart")
    return read(text, pulled["repo"])


def lineage(result: Result) -> Iterator[Result]:
    """A result and everything that it was made from, nearest first: what was pulled, as it was where it was made.

    Each with the artifact here that holds its events.
    """
    if (origin := _origin(result)) is None:
        yield result
        for parent in result.parents():
            yield from lineage(parent)
        return
    pushed = next(described for described in origin.results if described.digest == result.digest)
    for described in (pushed, *origin.line):
        yield replace(result, record=described.record())


def original_record(result: Result) -> Record:
    """The result's record as it was where it was made, with the files that are here."""
    return replace(next(lineage(result)).record, files=result.record.files)


def train_env(training: Artifact) -> TrainEnv:
    """What the last attempt at training noted: device, dtype, optimizer, the batch's split, versions."""
    noted: dict[str, Any] = {}
    for line in training.attempts():
        noted |= {name: value for name, value in line.items() if value is not None}
    return cast(TrainEnv, {name: noted[name] for name in TrainEnv.__annotations__ if name in noted})


def hub_manifest(view: RunView, kind: Kind, results: Sequence[Result]) -> dict[str, Any]:
    """The document for results of one kind. Raises UpstreamError when what they were made from is gone."""
    steps = list(lineage(results[0]))
    line = {step.digest: step.record for step in steps[1:]}
    training = next((step.artifact for step in steps if is_training(step.record)), None)
    base, pins = view.base, view.run.pins
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", base.public_name).lstrip("-.") or "model"
    locator = base.repo or (BUNDLED if base.locator == BUNDLED else name)
    model = {"locator": locator, "repo": base.repo, "revision": base.revision, "sha": base.sha, "files": base.files}
    return {
        "schema": SCHEMA,
        "twinctl": __version__,
        "kind": kind,
        "run": view.name,
        "pins": {**{key: pins[key] for key in ("preset", "template", "max_length")}, "model": model},
        **asdict(results[0].made_from(Kind.TOKENS).tokens_info()),
        "results": [_described(record, record.files) for record in map(original_record, results)],
        "line": [_described(record, []) for record in line.values()],
        "happened": train_env(training) if training else {},
        **_course(training),
    }


def _described(record: Record, files: Sequence[FileEntry]) -> dict[str, Any]:
    if record.produces == Kind.TOKENS:
        metrics, inputs = _of_tokens(record)
    else:
        metrics, inputs = {**record.metrics}, {**record.inputs}
        metrics.pop("pulled", None)
    return {
        "slot": record.slot,
        "phase": record.phase,
        "produces": record.produces,
        "recipe": dict(record.recipe),
        "inputs": _ordered(inputs),
        "digest": record.digest,
        "fingerprint": record.fingerprint,
        "metrics": _ordered(metrics),
        "created": record.created,
        "files": [asdict(file) for file in files],
    }


def _ordered(value: Any) -> Any:
    """With all names in order, so that it is the same document after a pull."""
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def _of_tokens(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its figures and its sources: of those on the Hub which they are, of local ones the formats alone."""
    counted, asked = record.metrics.get("sources", ()), record.inputs.get("sources", ())
    counts = [{name: source[name] for name in _OF_A_SOURCE if name in source} for source in counted]
    for public_counts, source in zip(counts, counted, strict=True):
        if str(source.get("name", "")).startswith("bundled:"):
            public_counts["name"] = source["name"]
    sources = []
    for source in asked:
        public = {name: source[name] for name in ("repo", "sha", "split") if source.get("repo")}
        local = {"files": [["", file[1], ""] for file in source.get("files", ())]}
        sources.append({"role": source.get("role", "author"), **(public or local)})
    figures = {name: record.metrics[name] for name in _FIGURES if name in record.metrics}
    return {**figures, "sources": counts}, {"sources": sources}


def _course(training: Artifact | None) -> dict[str, list[tuple[int, float]]]:
    """The losses by step, thinned out."""
    history = History.read(training) if training else History()
    curves = {"losses": history.losses, "evaluations": [*history.evaluations.items()]}
    return {name: points[:: -(-len(points) // _POINTS) or 1] for name, points in curves.items()}
