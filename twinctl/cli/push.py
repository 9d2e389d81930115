"""`twinctl push`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from twinctl.cli.command import Flags, PresetOption, WaitOption, command
from twinctl.cli.output import size
from twinctl.cli.push_view import show_plan, show_upload
from twinctl.cli.session import Session
from twinctl.config.push import PushKind, PushOptions, PushRecipe
from twinctl.errors import Interrupted, UsageError
from twinctl.phases.push import push as push_results
from twinctl.phases.push_plan import UploadPlanner, require_sendable
from twinctl.pipeline.event import Event
from twinctl.pipeline.execute import Outcome
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.upload_plan import UploadPlan, repo_for

PANELS = {"What is sent": ("adapter", "merged", "with_gguf", "unverified")}
app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, "push", PushRecipe, PushOptions, panels=PANELS)
def push(
    session: Session,
    flags: Flags,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hugging Face Hub.")],
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter, to REPO-LoRA.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="The merged 16-bit model, to REPO (the default).")] = False,
    with_gguf: Annotated[
        bool,
        typer.Option("--gguf", help="All GGUF files of the run, to REPO-GGUF; exported if there is none."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unverified: Annotated[bool, typer.Option("--unverified", help="Send an export that is not proven.")] = False,
    preset: PresetOption = None,
    wait: WaitOption = False,
) -> None:
    """Send the twin to the Hub: private unless --public, only what is missing.

    What arrived is compared with what was sent. Each kind has a repository of its
    own, as is usual there: REPO, REPO-LoRA, REPO-GGUF.

    \b
      twinctl push me/my-twin --dry-run   what would go, and what hinders it
      twinctl push me/my-twin             the merged model, exported if need be
      twinctl push me/my-twin --merged --gguf
                                           to REPO and REPO-GGUF
    """
    public, message = flags.get("public", False), flags.get("message", "")
    revision, pr = flags.get("revision"), flags.get("pull_request", False)
    require_sendable(repo, revision, message, pull_request=pr)
    view = session.view(preset)
    wanted: dict[PushKind, bool] = {"model": merged, "adapter": adapter, "gguf": with_gguf}
    kinds: list[PushKind] = [kind for kind, is_wanted in wanted.items() if is_wanted] or ["model"]
    recipes = [PushRecipe(repo=repo_for(repo, kind), kind=kind, revision=revision, pull_request=pr) for kind in kinds]
    options = PushOptions(public=public, message=message, progress=session.output.is_live)
    planner = UploadPlanner(view, session, public=public, unverified=unverified, wait=wait)

    def before_export() -> None:
        if not yes:
            _has_person(session, public=public)

    uploads = [planner.preview(recipe) if dry_run else planner.pack(recipe, before_export) for recipe in recipes]
    if dry_run:
        show_plan(session, recipes, uploads, public=public)
        return
    if not _confirm(session, uploads, public=public, yes=yes):
        for warning in [warning for upload in uploads for warning in upload.warnings]:
            session.output.warn(warning)
    _send(session, view, recipes, uploads, options, wait=wait)


def _has_person(session: Session, *, public: bool) -> bool:
    """Whether somebody can be asked; a script needs --yes only for what everybody can see."""
    if session.output.is_live and sys.stdin.isatty():
        return True
    if public:
        raise UsageError("a public push of a person's twin is to be confirmed", "add --yes")
    return False


def _confirm(session: Session, uploads: list[UploadPlan], *, public: bool, yes: bool) -> bool:
    """Ask a person at a terminal; whether one was shown everything."""
    if yes or all(upload.is_there for upload in uploads) or not _has_person(session, public=public):
        return False
    for upload in uploads:
        show_upload(session, upload, public=public)
    if not typer.confirm("Send it?", err=True):
        raise Interrupted("nothing was sent")
    return True


def _send(
    session: Session,
    view: RunView,
    recipes: list[PushRecipe],
    uploads: list[UploadPlan],
    options: PushOptions,
    *,
    wait: bool,
) -> None:
    done = []
    for recipe, upload in zip(recipes, uploads, strict=True):
        done.append(_sent(session, view, recipe, upload, options, wait=wait))
    if session.output.json:
        documents = [session.document("push", outcome) for outcome in done]
        session.output.document({**documents[0], "pushes": documents})
        return
    for outcome in done:
        _show_outcome(session, outcome)


def _sent(
    session: Session, view: RunView, recipe: PushRecipe, upload: UploadPlan, options: PushOptions, *, wait: bool
) -> Outcome:
    """The push done, or found done: `cached` says that nothing was sent."""

    def watch(event: Event) -> None:
        if session.output.json:
            session.output.event({"phase": "push", **event.stored()})
        elif event.kind == "stage":
            session.output.say(f"push: {event.text}")

    return push_results(view, upload, recipe, options, watch=watch, wait=wait)


def _show_outcome(session: Session, outcome: Outcome) -> None:
    metrics, output = outcome.record.metrics, session.output
    if outcome.cached:
        output.line(f"push: nothing changed, nothing sent  {metrics['url']}")
    else:
        sent = f"{len(metrics['sent'])} files, {size(metrics['sent_bytes'])}"
        output.line(f"push: sent {sent}, and compared  {metrics['pull_request'] or metrics['url']}")
    output.table([["commit", metrics["commit"]], ["page", metrics["commit_url"]]])
    output.say(f"next: twinctl status --remote, or elsewhere: twinctl pull {metrics['repo']}")
