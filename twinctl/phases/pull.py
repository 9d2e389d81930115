"""pull: a pushed twin back in a workspace, as a run to chat with, to export, or to train on from.

What must stay true: a pulled result has the digest, recipe and figures of the one that was pushed, and its files were
compared to the byte; rows do not travel, so what stands for the tokens is their template alone; nothing of the repo
is executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from twinctl.config.export import GgufRecipe
from twinctl.config.pull import TemplateRecipe
from twinctl.config.recipe import Options, Recipe
from twinctl.config.secrets import refuse_secret
from twinctl.config.train import TrainRecipe
from twinctl.data.tokens import TokensInfo
from twinctl.errors import ConfigError, UsageError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.execute import Executor, Outcome
from twinctl.pipeline.phase import AnyPlan, Attempt, Phase, Plan, Produced
from twinctl.publishing.hub_manifest import FILE, HubManifest, ManifestResult, read
from twinctl.publishing.provenance import keep_origin
from twinctl.workspace.workspace import Workspace


@dataclass(frozen=True)
class Pulled:
    """A twin that was brought back: the run that has it now, and its results."""

    run: str
    kind: str
    outcomes: list[Outcome]


def pull(
    workspace: Workspace,
    repo: str,
    executor: Executor,
    *,
    run: str | None = None,
    revision: str | None = None,
    wait: bool = False,
    restart: bool = False,
) -> Pulled:
    """Make a run of a pushed twin, under the name that it had or `run`, and make it the current one.

    Raises HubError, ConfigError for a repository that twinctl did not push, UsageError where another run has the name.
    """
    refuse_secret("the run's name", run)
    executor.say(f"pull: looking at {repo}")
    manifest, sha = open_repo(repo, revision)
    name = run or manifest.run
    if workspace.runs.exists(name):
        existing = workspace.runs.get(name)
        pulled = all(path.startswith("pull/") for slot, path in existing.slots.items() if not slot.startswith("push-"))
        if existing.pins and not (pulled and existing.pins["model"]["files"] == manifest.pins.model.files):
            raise UsageError(f"there is a run “{name}” already, which is another", "give it a name: --run NAME")
    executor.execute(name, plan_tokens(manifest), wait=wait, restart=restart)
    with workspace.runs.change(name) as stored:
        stored.pins = {**pins(manifest), **stored.pins}
    plans = [plan(workspace, manifest, result, repo, sha) for result in manifest.results]
    outcomes = [executor.execute(name, each, wait=wait, restart=restart) for each in plans]
    workspace.runs.use(name)
    return Pulled(name, manifest.kind, outcomes)


def open_repo(repo: str, revision: str | None) -> tuple[HubManifest, str]:
    """The manifest of a repo that twinctl pushed, and its commit. Raises HubError, ConfigError for another."""
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
    manifest = read(text, repo)
    require_pullable(manifest.kind, [file.name for each in manifest.results for file in each.files], remote)
    return manifest, str(remote.sha)


def pins(manifest: HubManifest) -> dict[str, Any]:
    """A run's pins as prepare fixed them, without the sources, which stayed where they were."""
    model = BaseCheckpoint(**manifest.pins.model.model_dump())
    return {**manifest.pins.model_dump(), "model": model.stored(), "sources": []}


@dataclass(frozen=True)
class PulledTokens:
    """What stands for the tokens: their template, what prepare measured, and their identity."""

    info: TokensInfo
    metrics: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class PulledResult:
    """A result on the Hub, by its digest, and the document that came with it."""

    repo: str
    sha: str
    manifest: HubManifest
    digest: str


def plan_tokens(manifest: HubManifest) -> Plan[TemplateRecipe, Options, PulledTokens]:
    """The plan of what stands for the tokens."""
    info = TokensInfo(manifest.template, manifest.max_length, manifest.eos)
    tokens = manifest.tokens()
    digest, metrics = (tokens.digest, dict(tokens.metrics)) if tokens else ("", {})
    recipe = TemplateRecipe(template=manifest.pins.template, max_length=manifest.max_length)
    return Plan(
        phase=TOKENS,
        slot="prepare",
        slug=f"tokens-{recipe.template}",
        produces="tokens",
        recipe=recipe,
        inputs={"tokens": digest, "template": info.template, "eos": info.eos, **(tokens.inputs if tokens else {})},
        parents={},
        options=Options(),
        resolve_inputs=lambda: PulledTokens(info, metrics, digest),
    )


def plan(workspace: Workspace, manifest: HubManifest, result: ManifestResult, repo: str, sha: str) -> AnyPlan:
    """The plan of one pulled result, made from the tokens that stand in for those it was trained on."""
    training = manifest.training()
    inputs = {name: value for name, value in training.inputs.items() if name in ("tokens", "base")}
    is_gguf = manifest.kind == "gguf"
    return Plan(
        phase=GGUF if is_gguf else TRAINED,
        slot=result.slot if is_gguf else "train",
        slug=f"{manifest.kind}-{manifest.run.lower()}",
        produces=manifest.kind,
        recipe=_recipe(manifest, result),
        inputs={**inputs, "kind": manifest.kind, "files": {file.name: file.sha256 for file in result.files}},
        parents={"tokens": plan_tokens(manifest).path(workspace)},
        options=Options(),
        resolve_inputs=lambda: PulledResult(repo, sha, manifest, result.digest),
    )


def _recipe(manifest: HubManifest, result: ManifestResult) -> Recipe:
    """What was asked for: of an adapter or model the training, whatever merged it. Raises ConfigError for another's."""
    try:
        trained = TrainRecipe.model_validate(manifest.training().recipe)
        return GgufRecipe.model_validate(result.recipe) if manifest.kind == "gguf" else trained
    except ValidationError as error:
        raise ConfigError(
            f"{FILE} has settings that this twinctl does not know: {error.errors()[0]['loc'][0]}", "update twinctl"
        ) from error


def run_tokens(attempt: Attempt[TemplateRecipe, Options, PulledTokens]) -> Produced:
    """Write the template where prepare would."""
    tokens = attempt.inputs
    tokens.info.write(attempt.out)
    return Produced(metrics={**tokens.metrics, "rows_here": 0}, digest=tokens.digest or None)


def run(attempt: Attempt[Any, Options, PulledResult]) -> Produced:
    """Fetch the files, compared with their sha256, and write down how the training went where it was made."""
    from twinctl.hub.fetch import fetch

    repo, sha, manifest = attempt.inputs.repo, attempt.inputs.sha, attempt.inputs.manifest
    result = next(result for result in manifest.results if result.digest == attempt.inputs.digest)
    files = {file.name: (file.bytes, file.sha256) for file in result.files}
    partial = attempt.work / "files"
    size = sum(file.bytes for file in result.files) / 2**20
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
    for step, loss in manifest.losses:
        attempt.artifact.append_event("step", step=step, loss=loss)
    for step, loss in manifest.evaluations:
        attempt.artifact.append_event("evaluation", step=step, eval_loss=loss)
    attempt.note(**{"versions": {}, **manifest.happened})  # those of the training, not of this machine
    pulled = {"repo": repo, "commit": sha, "origin": keep_origin(attempt.artifact, manifest)}
    return Produced(metrics={**result.metrics, "pulled": pulled}, digest=result.digest)


# Version 1 was of the tokens alone. A pulled result keeps the recipe of the phase that made it.
TOKENS = Phase("pull", 1, "pull", TemplateRecipe, Options, PulledTokens, run_tokens, makes=())
TRAINED = Phase("pull", 2, "pull", TrainRecipe, Options, PulledResult, run, makes=())
GGUF = Phase("pull", 2, "pull", GgufRecipe, Options, PulledResult, run, makes=())
