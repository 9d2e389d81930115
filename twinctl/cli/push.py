"""`twinctl push`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinctl.cli.export import model_of
from twinctl.cli.output import size
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
from twinctl.errors import HubError, Interrupted, UsageError
from twinctl.phases import gguf
from twinctl.phases.execute import Outcome, execute
from twinctl.phases.parcel import KINDS, Parcel, pack, repo_for, require_fit
from twinctl.phases.push import opened_request, plan
from twinctl.phases.upstream import Found, find, need, trained
from twinctl.recipes.export import ExportOptions, GgufRecipe, MergeRecipe, Quant
from twinctl.recipes.push import Kind, PushOptions, PushRecipe
from twinctl.settings.resolve import values_of
from twinctl.settings.secrets import refuse_secret
from twinctl.workspace.run import Run

if TYPE_CHECKING:
    from twinctl.hub.remote import Remote

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
    run: RunOption = None,
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
    session = Session.open(workspace, run, json=json, quiet=quiet)
    _check_words(repo, revision, message, pr)
    thread = session.run(preset)
    flags: dict[Kind, bool] = {"model": merged, "adapter": adapter, "gguf": with_gguf}
    kinds: list[Kind] = [kind for kind, wanted in flags.items() if wanted] or ["model"]
    recipes = [PushRecipe(repo=repo_for(repo, kind), kind=kind, revision=revision, pull_request=pr) for kind in kinds]
    options = PushOptions(public=public, message=message, progress=session.output.is_live)
    parcels = []
    for recipe in recipes:
        made, first = _made_already(session, thread, recipe.kind)
        if not dry_run:
            if first:
                _require_ready(session, recipe, public=public, yes=yes)
            made, first = _made(session, thread, recipe.kind, wait=wait), []
        warnings = require_fit(session.workspace, thread, made, unverified=unverified)
        parcels.append(_packed(session, thread, recipe, made, first, warnings, public=public, dry_run=dry_run))
    if dry_run:
        _show_plan(session, recipes, parcels, public=public)
        return
    if not _confirm(session, parcels, public=public, yes=yes):
        for warning in [warning for parcel in parcels for warning in parcel.warnings]:
            session.output.warn(warning)
    _send(session, thread, recipes, parcels, options, wait=wait)


def _check_words(repo: str, revision: str | None, message: str, pr: bool) -> None:
    from twinctl.hub.remote import require_name

    require_name(repo)
    for what, value in (("the repository's name", repo), ("the branch", revision), ("the message", message)):
        refuse_secret(what, value)
    if pr and revision:
        raise UsageError("--pr and --revision do not go together", "a pull request is opened against main")


def _made(session: Session, run: Run, kind: Kind, *, wait: bool) -> list[Found]:
    """The results to send; what is not exported yet is."""
    from twinctl.card import gguf_results

    place = session.workspace
    if kind == "adapter":
        return [need(place, run, kind)]
    if kind == "gguf":
        return gguf_results(place, run) or _exported_gguf(session, run, wait=wait)
    outcome = model_of(session, run, MergeRecipe(), wait=wait)
    return [(place.relative(outcome.artifact), outcome.artifact, outcome.record)]


def _exported_gguf(session: Session, run: Run, *, wait: bool) -> list[Found]:
    """The GGUF files that `export --gguf` makes."""
    from twinctl.card import gguf_results

    gguf.require_writable(run)  # before the merge, which takes long
    quants = _quants(run)
    session.output.say(f"push: there is no GGUF file yet; exporting {', '.join(quants)} first")
    model_of(session, run, MergeRecipe(), wait=wait)
    for quant in quants:
        wanted = gguf.plan(session.workspace, session.run(), GgufRecipe(name=run.name, quant=quant))
        session.execute(run.name, wanted, wait=wait)
    return gguf_results(session.workspace, session.run())


def _quants(run: Run) -> tuple[Quant, ...]:
    return values_of("export", (ExportOptions,), run.pins["preset"], {}).build(ExportOptions).quant


def _made_already(session: Session, run: Run, kind: Kind) -> tuple[list[Found], list[str]]:
    """The results that are there to be sent, or what is to be exported first. Raises UpstreamError when nothing is
    trained.
    """
    from twinctl.card import gguf_results

    place = session.workspace
    if kind == "gguf" and (found := gguf_results(place, run)):
        return found, []
    if kind == "adapter" or (kind == "model" and find(place, run, kind)):
        return [need(place, run, kind)], []
    trained(place, run)
    merge = [] if find(place, run, "model") else ["the merged 16-bit model"]
    if kind == "gguf":
        gguf.require_writable(run)
    return [], [*merge, *(f"the {quant} GGUF file" for quant in _quants(run) if kind == "gguf")]


def _packed(
    session: Session,
    run: Run,
    recipe: PushRecipe,
    made: list[Found],
    first: list[str],
    warnings: list[str],
    *,
    public: bool,
    dry_run: bool,
) -> Parcel:
    """The parcel, after everything that could stop it was asked; a dry run that cannot ask shows what it can."""
    from twinctl.hub.remote import ask, can_ask, look

    session.output.say(f"push: looking at {recipe.repo}")
    place, remote = session.workspace, None
    merged = recipe.repo[: -len("-GGUF")] if recipe.kind == "gguf" else None
    there = merged if f"push-{merged}" in run.slots else None

    def packed(remote: Remote | None) -> Parcel:
        if first:
            return Parcel.to_come(recipe.kind, recipe.repo, remote, first, warnings)
        return pack(place, run, recipe.kind, recipe.repo, made, remote, merged_repo=there, warnings=warnings)

    if reason := can_ask() if dry_run else None:
        warnings = [*warnings, f"the Hub was not asked: {reason}"]
    else:
        try:
            remote = ask(recipe.repo, recipe.revision, public=public)
            request = opened_request(place, run, recipe)
            if request and (same := packed(look(recipe.repo, request))).is_there:
                return same
        except HubError as error:
            if not (dry_run and error.may_pass):
                raise
            warnings = [*warnings, f"the Hub was not asked: {error.message}"]
    return packed(remote)


def _show_plan(session: Session, recipes: list[PushRecipe], parcels: list[Parcel], *, public: bool) -> None:
    if session.output.json:
        plans = [_plan_document(recipe, parcel, public) for recipe, parcel in zip(recipes, parcels, strict=True)]
        first = {"state": "dry-run", "metrics": plans[0], "warnings": list(parcels[0].warnings)}
        session.output.document({"command": "push", "phase": "push", **first, "plans": plans})
        return
    for parcel in parcels:
        _show_parcel(session, parcel, public=public)
    session.output.say("nothing was sent")


def _plan_document(recipe: PushRecipe, parcel: Parcel, public: bool) -> dict[str, Any]:
    files = [
        {"name": name, "bytes": it.size, "sha256": it.sha256, "change": parcel.changes[name]}
        for name, it in parcel.local.items()
    ]
    there = {"asked": parcel.remote is not None, "exists": bool(parcel.remote and parcel.remote.exists)}
    about = {"repo": recipe.repo, "kind": recipe.kind, "revision": recipe.revision, "private": not public, **there}
    sizes = {"bytes": parcel.bytes(), "to_send": parcel.bytes(parcel.to_send)}
    return {
        **about,
        "exports": list(parcel.first),
        "files": files,
        "removes": parcel.gone,
        "left": list(parcel.left),
        **sizes,
    }


def _show_parcel(session: Session, parcel: Parcel, *, public: bool) -> None:
    """Every file with its size, digest and what becomes of it."""
    output, there = session.output, parcel.remote
    how = "" if there is None else " (new)" if not there.exists else " (there already)"
    kind = f"the {'public' if public else 'private'} model repository {parcel.repo}"
    count, total = len(parcel.to_send), size(parcel.bytes(parcel.to_send))
    what = f"send {count} of {len(parcel.local)} files, {total}, to"
    if parcel.first:
        what = f"export {' and '.join(parcel.first)} first, then send what is made to"
    output.line(f"would {what} {kind}{how}: {KINDS[parcel.kind]}")
    rows = [[name, size(it.size), it.sha256[:12], parcel.changes[name]] for name, it in parcel.local.items()]
    output.table([*rows, *([name, "", "", "gone"] for name in parcel.gone)])
    for name in parcel.left:
        output.say(f"stays here: {name}")
    for warning in parcel.warnings:
        output.warn(warning)


def _require_ready(session: Session, recipe: PushRecipe, *, public: bool, yes: bool) -> None:
    """What would stop the push, before an export that takes long. Raises HubError, UsageError."""
    from twinctl.hub.remote import ask

    if not yes:
        _has_person(session, public=public)
    session.output.say(f"push: looking at {recipe.repo}")
    ask(recipe.repo, recipe.revision, public=public)


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
        _show_parcel(session, parcel, public=public)
    if not typer.confirm("Send it?", err=True):
        raise Interrupted("nothing was sent")
    return True


def _send(
    session: Session,
    run: Run,
    recipes: list[PushRecipe],
    parcels: list[Parcel],
    options: PushOptions,
    *,
    wait: bool,
) -> None:
    done = []
    for recipe, parcel in zip(recipes, parcels, strict=True):
        done.append(_sent(session, run, recipe, parcel, options, wait=wait))
    if session.output.json:
        documents = [session.document("push", outcome) for outcome in done]
        session.output.document({**documents[0], "pushes": documents})
        return
    for outcome in done:
        _show_outcome(session, outcome)


def _sent(
    session: Session, run: Run, recipe: PushRecipe, parcel: Parcel, options: PushOptions, *, wait: bool
) -> Outcome:
    """The push done, or found done: `cached` says that nothing was sent."""
    wanted = plan(run, parcel, recipe, options)

    def watch(event: dict[str, Any]) -> None:
        if session.output.json:
            session.output.event({"phase": "push", **event})
        elif event["event"] == "stage":
            session.output.say(f"push: {event['text']}")

    outcome = execute(session.workspace, run.name, wanted, watch=watch, wait=wait, restart=True)
    return Outcome(outcome.artifact, outcome.record, cached=parcel.is_there)


def _show_outcome(session: Session, outcome: Outcome) -> None:
    metrics, output = outcome.record.metrics, session.output
    if outcome.cached:
        output.line(f"push: nothing changed, nothing sent  {metrics['url']}")
    else:
        sent = f"{len(metrics['sent'])} files, {size(metrics['sent_bytes'])}"
        output.line(f"push: sent {sent}, and compared  {metrics['pull_request'] or metrics['url']}")
    output.table([["commit", metrics["commit"]], ["page", metrics["commit_url"]]])
    output.say(f"next: twinctl status --remote, or elsewhere: twinctl pull {metrics['repo']}")
