"""push: a result's files to a repository on the Hub, and the proof that they arrived.

What must stay true: unlike other phases, a push that was done before is done again, since the Hub may have changed;
what is there already is not sent; the record is written only after the remote list was read back and is the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl import __version__
from twinctl.config.push import PushOptions, PushRecipe
from twinctl.pipeline.event import Watch
from twinctl.pipeline.execute import Outcome, carry_out
from twinctl.pipeline.phase import Attempt, NoInputs, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.hub_manifest import FILE
from twinctl.publishing.upload_plan import CARD, KINDS, UploadPlan
from twinctl.workspace.artifact import Record
from twinctl.workspace.fingerprint import fingerprint

if TYPE_CHECKING:
    from twinctl.hub.publish import Published


def slot_of(recipe: PushRecipe) -> str:
    """The run's slot for a repository, and a branch or the pull request of it."""
    branch = "pr" if recipe.pull_request else recipe.revision
    return f"push-{recipe.repo}" + (f"@{branch}" if branch else "")


def opened_request(view: RunView, recipe: PushRecipe) -> str | None:
    """The ref of the pull request that the run opened there last, if it did."""
    pushed = view.result(slot_of(recipe)) if recipe.pull_request else None
    return str(pushed.record.metrics["revision"]) if pushed and pushed.record.metrics["revision"] else None


def push(
    view: RunView, upload: UploadPlan, recipe: PushRecipe, options: PushOptions, *, watch: Watch, wait: bool = False
) -> Outcome:
    """Send what is missing, read the repo back, compare, and record it: `cached` says that nothing had to be sent. The
    record's files are the card and twinctl.json.

    Raises HubError, CheckFailed when what arrived is not what was sent.
    """
    plan = Plan(
        phase=PHASE,
        slot=slot_of(recipe),
        slug=f"{recipe.kind}-{recipe.repo.replace('/', '-').lower()}",
        produces="push",
        recipe=recipe,
        inputs={result.slot: result.digest for result in upload.results},
        parents={result.slot: result.path for result in upload.results},
        options=options,
        resolve_inputs=NoInputs,
    )
    result = carry_out(view.workspace, view.name, plan, partial(_send, upload), watch=watch, wait=wait)
    return Outcome(result, cached=upload.is_there)


def _send(upload: UploadPlan, attempt: Attempt[PushRecipe, PushOptions, NoInputs]) -> Produced:
    from twinctl.hub.publish import Published, publish, require_same

    recipe, options = attempt.recipe, attempt.options
    assert upload.remote is not None
    folder = attempt.work / "stage"
    stage(upload.files, folder)
    if upload.is_there:
        done = Published.of(upload.remote)
    else:
        done = publish(
            upload.remote,
            folder,
            public=options.public,
            message=options.message or f"{KINDS[recipe.kind]} by twinctl {__version__}",
            gone=upload.gone,
            pull_request=recipe.pull_request,
            say=attempt.stage,
            show_progress=options.progress,
        )
    require_same(done.remote, upload.local)
    for name in (CARD, FILE):
        shutil.copyfile(folder / name, attempt.out / name)
    sent = [] if upload.is_there else upload.to_send
    digest = fingerprint({name: file.sha256 for name, file in upload.local.items()})
    return Produced(metrics=_metrics(recipe, upload, done, sent), digest=digest, warnings=[*upload.warnings])


def stage(files: Mapping[str, Path | bytes], folder: Path) -> None:
    """A folder with exactly these files: links to what is elsewhere, so that nothing is copied."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content.resolve())


def _metrics(recipe: PushRecipe, upload: UploadPlan, done: Published, sent: list[str]) -> dict[str, Any]:
    files = [
        {"name": name, "bytes": file.size, "sha256": file.sha256, "blob": file.blob}
        for name, file in upload.local.items()
    ]
    return {
        "repo": recipe.repo,
        "url": done.url,
        "commit": done.sha,
        "commit_url": done.commit_url,
        "revision": done.revision,
        "pull_request": done.pull_request,
        "private": done.remote.private,
        "sent": sent,
        "sent_bytes": upload.bytes(sent),
        "removed": upload.gone,
        "files": files,
    }


@dataclass(frozen=True)
class RemoteState:
    """What the Hub has of a push: `state` is same, differs, gone or not asked; `notes` say what is different."""

    state: str
    notes: list[str]


def remote_state(record: Record) -> RemoteState:
    """Whether the Hub still has what this push sent. Asks it. Raises HubError.

    A card that was edited there is no difference: the next push keeps it.
    """
    from twinctl.hub.publish import differences_on
    from twinctl.hub.remote import LocalFile, read_remote

    sent = record.metrics
    now = read_remote(sent["repo"], sent["revision"])
    if not now.exists or not now.has_branch:
        return RemoteState("gone", [f"{sent['repo']} is not there any more, or not for this account"])
    local = {each["name"]: LocalFile(each["bytes"], each["sha256"], each["blob"]) for each in sent["files"]}
    differing = differences_on(now, {name: file for name, file in local.items() if name != CARD})
    notes = [*differing]
    if differences_on(now, {CARD: local[CARD]}):
        notes.append("the card was edited there")
    if now.private is not sent["private"]:
        notes.append(f"it is {'private' if now.private else 'public'} now")
    return RemoteState("differs" if differing else "same", notes)


PHASE = Phase("push", 1, "push", PushRecipe, PushOptions, NoInputs, None, makes=())
