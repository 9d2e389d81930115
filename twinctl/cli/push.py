"""`twinctl push`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinctl.cli.output import size
from twinctl.cli.push_sources import made_already, make
from twinctl.cli.push_view import show_parcel, show_plan
from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    PresetOption,
    QuietOption,
    RunOption,
    Session,
    WaitOption,
    WorkspaceOption,
)
from twinctl.config.push import PushKind, PushOptions, PushRecipe
from twinctl.config.secrets import refuse_secret
from twinctl.errors import HubError, Interrupted, UsageError
from twinctl.phases.push import opened_request
from twinctl.phases.push import push as push_results
from twinctl.pipeline.execute import Outcome
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.upload_plan import Parcel, pack, repo_for, require_fit

if TYPE_CHECKING:
    from twinctl.hub.remote import RemoteRepo

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def push(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hugging Face Hub.")],
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter, to REPO-LoRA.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="The merged 16-bit model, to REPO (the default).")] = False,
    with_gguf: Annotated[
        bool, typer.Option("--gguf", help="All GGUF files of the run, to REPO-GGUF; exported if there is none.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch; made if it is not there.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="The commit's message.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unverified: Annotated[bool, typer.Option("--unverified", help="Send an export that is not proven.")] = False,
    preset: PresetOption = None,
    run_name: RunOption = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
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
    session = Session.open(workspace, run_name, json=json, quiet=quiet)
    _check_words(repo, revision, message, pr)
    view = session.view(preset)
    flags: dict[PushKind, bool] = {"model": merged, "adapter": adapter, "gguf": with_gguf}
    kinds: list[PushKind] = [kind for kind, wanted in flags.items() if wanted] or ["model"]
    recipes = [PushRecipe(repo=repo_for(repo, kind), kind=kind, revision=revision, pull_request=pr) for kind in kinds]
    options = PushOptions(public=public, message=message, progress=session.output.is_live)
    parcels = []
    for recipe in recipes:
        results, first = made_already(view, recipe.kind)
        if not dry_run:
            if first:
                _require_ready(session, recipe, public=public, yes=yes)
            results, first = make(session, view, recipe.kind, wait=wait), []
        warnings = require_fit(view, results, unverified=unverified)
        parcels.append(_packed(session, view, recipe, results, first, warnings, public=public, dry_run=dry_run))
    if dry_run:
        show_plan(session, recipes, parcels, public=public)
        return
    if not _confirm(session, parcels, public=public, yes=yes):
        for warning in [warning for parcel in parcels for warning in parcel.warnings]:
            session.output.warn(warning)
    _send(session, view, recipes, parcels, options, wait=wait)


def _check_words(repo: str, revision: str | None, message: str, pr: bool) -> None:
    from twinctl.hub.names import require_new_name

    require_new_name(repo)
    for what, value in (("the repository's name", repo), ("the branch", revision), ("the message", message)):
        refuse_secret(what, value)
    if pr and revision:
        raise UsageError("--pr and --revision do not go together", "a pull request is opened against main")


def _packed(
    session: Session,
    view: RunView,
    recipe: PushRecipe,
    made: list[Result],
    first: list[str],
    warnings: list[str],
    *,
    public: bool,
    dry_run: bool,
) -> Parcel:
    """The parcel, after everything that could stop it was asked; a dry run that cannot ask shows what it can."""
    from twinctl.hub.remote import check_push, read_remote, unreachable_reason

    session.output.say(f"push: looking at {recipe.repo}")
    remote = None
    merged = recipe.repo[: -len("-GGUF")] if recipe.kind == "gguf" else None
    there = merged if f"push-{merged}" in view.run.slots else None

    def packed(remote: RemoteRepo | None) -> Parcel:
        if first:
            return Parcel.to_come(recipe.kind, recipe.repo, remote, first, warnings)
        return pack(view, recipe.kind, recipe.repo, made, remote, merged_repo=there, warnings=warnings)

    if reason := unreachable_reason() if dry_run else None:
        warnings = [*warnings, f"the Hub was not asked: {reason}"]
    else:
        try:
            remote = check_push(recipe.repo, recipe.revision, public=public)
            request = opened_request(view, recipe)
            if request and (same := packed(read_remote(recipe.repo, request))).is_there:
                return same
        except HubError as error:
            if not (dry_run and error.may_pass):
                raise
            warnings = [*warnings, f"the Hub was not asked: {error.message}"]
    return packed(remote)


def _require_ready(session: Session, recipe: PushRecipe, *, public: bool, yes: bool) -> None:
    """What would stop the push, before an export that takes long. Raises HubError, UsageError."""
    from twinctl.hub.remote import check_push

    if not yes:
        _has_person(session, public=public)
    session.output.say(f"push: looking at {recipe.repo}")
    check_push(recipe.repo, recipe.revision, public=public)


def _has_person(session: Session, *, public: bool) -> bool:
    """Whether somebody can be asked; a script needs --yes only for what everybody can see."""
    if session.output.is_live and sys.stdin.isatty():
        return True
    if public:
        raise UsageError("a public push of a person's twin is to be confirmed", "add --yes")
    return False


def _confirm(session: Session, parcels: list[Parcel], *, public: bool, yes: bool) -> bool:
    """Ask a person at a terminal; whether one was shown everything."""
    if yes or all(parcel.is_there for parcel in parcels) or not _has_person(session, public=public):
        return False
    for parcel in parcels:
        show_parcel(session, parcel, public=public)
    if not typer.confirm("Send it?", err=True):
        raise Interrupted("nothing was sent")
    return True


def _send(
    session: Session,
    view: RunView,
    recipes: list[PushRecipe],
    parcels: list[Parcel],
    options: PushOptions,
    *,
    wait: bool,
) -> None:
    done = []
    for recipe, parcel in zip(recipes, parcels, strict=True):
        done.append(_sent(session, view, recipe, parcel, options, wait=wait))
    if session.output.json:
        documents = [session.document("push", outcome) for outcome in done]
        session.output.document({**documents[0], "pushes": documents})
        return
    for outcome in done:
        _show_outcome(session, outcome)


def _sent(
    session: Session, view: RunView, recipe: PushRecipe, parcel: Parcel, options: PushOptions, *, wait: bool
) -> Outcome:
    """The push done, or found done: `cached` says that nothing was sent."""

    def watch(event: dict[str, Any]) -> None:
        if session.output.json:
            session.output.event({"phase": "push", **event})
        elif event["event"] == "stage":
            session.output.say(f"push: {event['text']}")

    return push_results(view, parcel, recipe, options, watch=watch, wait=wait)


def _show_outcome(session: Session, outcome: Outcome) -> None:
    metrics, output = outcome.record.metrics, session.output
    if outcome.cached:
        output.line(f"push: nothing changed, nothing sent  {metrics['url']}")
    else:
        sent = f"{len(metrics['sent'])} files, {size(metrics['sent_bytes'])}"
        output.line(f"push: sent {sent}, and compared  {metrics['pull_request'] or metrics['url']}")
    output.table([["commit", metrics["commit"]], ["page", metrics["commit_url"]]])
    output.say(f"next: twinctl status --remote, or elsewhere: twinctl pull {metrics['repo']}")
