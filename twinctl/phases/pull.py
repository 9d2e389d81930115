"""pull: a pushed twin back in a workspace, as a run to talk to, to export, or to train on from.

What must stay true: a pulled result has the digest, recipe and figures of the one that was pushed, and its files were
compared to the byte; rows do not travel, so what stands for the tokens is their template alone; nothing of the repo
is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from twinctl.config.export import GgufRecipe
from twinctl.config.pull import TemplateRecipe
from twinctl.config.recipe import Options, Recipe
from twinctl.config.train import TrainRecipe
from twinctl.data.tokens import TokensInfo
from twinctl.errors import ConfigError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.publishing.hub_manifest import FILE, Made, Travelling, read
from twinctl.publishing.provenance import keep_origin
from twinctl.workspace.workspace import Workspace


def open_repo(repo: str, revision: str | None) -> tuple[Travelling, str]:
    """What a repo that twinctl pushed tells of itself, and its commit. Raises HubError, ConfigError for another."""
    from twinctl.hub.fetch import remote_to_pull, require_pullable
    from twinctl.hub.names import require_new_name
    from twinctl.hub.remote import small_file

    require_new_name(repo)
    remote = remote_to_pull(repo, revision)
    text = small_file(remote, FILE)
    if text is None:
        raise ConfigError(
            f"{repo} was not pushed by twinctl: it has no {FILE}",
            f"to train on top of it: twinctl prepare --model hf:{repo} -d FILE",
        )
    found = read(text, repo)
    require_pullable(found.kind, [file.name for each in found.results for file in each.files], remote)
    return found, str(remote.sha)


def pins(found: Travelling) -> dict[str, Any]:
    """A run's pins as prepare fixed them, without the sources, which stayed where they were."""
    model = BaseCheckpoint(**found.pins.model.model_dump())
    return {**found.pins.model_dump(), "model": model.stored(), "sources": []}


def plan_tokens(found: Travelling) -> Plan:
    """What stands for the tokens."""
    info = TokensInfo(found.template, found.max_length, found.eos)
    tokens = found.tokens()
    digest = tokens.digest if tokens else ""
    recipe = TemplateRecipe(template=found.pins.template, max_length=found.max_length)

    def run(attempt: Attempt) -> Produced:
        info.write(attempt.out)
        return Produced(metrics={**(tokens.metrics if tokens else {}), "rows_here": 0}, digest=digest or None)

    return Plan(
        phase=Phase("pull", 1, "pull", TemplateRecipe, Options, run, makes=()),
        slot="prepare",
        slug=f"tokens-{recipe.template}",
        produces="tokens",
        recipe=recipe,
        origins={},
        inputs={"tokens": digest, "template": info.template, "eos": info.eos, **(tokens.inputs if tokens else {})},
        parents={},
        options=Options(),
        resolve_inputs=dict,
    )


def plan(workspace: Workspace, found: Travelling, made: Made, repo: str, sha: str) -> Plan:
    """One pulled result, made from the tokens that stand in for those it was trained on."""
    recipe = _recipe(found, made)
    tokens = plan_tokens(found)
    training = found.training()
    inputs = {name: value for name, value in training.inputs.items() if name in ("tokens", "base")}
    return Plan(
        phase=Phase("pull", 2, "pull", type(recipe), Options, _run_of(found, made), makes=()),
        slot=made.slot if found.kind == "gguf" else "train",
        slug=f"{found.kind}-{found.run.lower()}",
        produces=found.kind,
        recipe=recipe,
        origins={},
        inputs={**inputs, "kind": found.kind, "files": {file.name: file.sha256 for file in made.files}},
        parents={"tokens": tokens.path(workspace)},
        options=Options(),
        resolve_inputs=lambda: {"repo": repo, "sha": sha},
    )


def _recipe(found: Travelling, made: Made) -> Recipe:
    """What was asked for: of an adapter or model the training, whatever merged it. Raises ConfigError for another's."""
    try:
        trained = TrainRecipe.model_validate(found.training().recipe)
        return GgufRecipe.model_validate(made.recipe) if found.kind == "gguf" else trained
    except ValidationError as error:
        raise ConfigError(
            f"{FILE} has settings that this twinctl does not know: {error.errors()[0]['loc'][0]}", "update twinctl"
        ) from error


def _run_of(found: Travelling, made: Made) -> Any:
    files: Mapping[str, tuple[int, str]] = {file.name: (file.bytes, file.sha256) for file in made.files}

    def run(attempt: Attempt) -> Produced:
        from twinctl.hub.fetch import fetch

        repo, sha = attempt.inputs["repo"], attempt.inputs["sha"]
        partial: Path = attempt.work / "files"
        size = sum(size for size, _ in files.values()) / 2**20
        attempt.stage(f"fetching {len(files)} files of {repo}, {size:,.1f} MiB")
        fetch(
            repo,
            sha,
            files,
            partial,
            say=attempt.stage,
            progress=lambda done, total: attempt.event("progress", bytes=done, of=total),
        )
        for name in files:
            (partial / name).rename(attempt.out / name)
        for step, loss in found.losses:
            attempt.artifact.append_event("step", step=step, loss=loss)
        for step, loss in found.evaluations:
            attempt.artifact.append_event("evaluation", step=step, eval_loss=loss)
        attempt.note(**{"versions": {}, **found.happened})  # those of the training, not of this machine
        pulled = {"repo": repo, "commit": sha, "origin": keep_origin(attempt.artifact, found)}
        return Produced(metrics={**made.metrics, "pulled": pulled}, digest=made.digest)

    return run
