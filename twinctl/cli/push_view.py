"""A push before it is done: what would go where, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from twinctl.cli.output import size
from twinctl.cli.session import Session
from twinctl.config.push import PushRecipe
from twinctl.publishing.upload_plan import KINDS, Parcel


def show_plan(session: Session, recipes: list[PushRecipe], parcels: list[Parcel], *, public: bool) -> None:
    """All of it, and that nothing was sent."""
    if session.output.json:
        plans = [_plan_document(recipe, parcel, public) for recipe, parcel in zip(recipes, parcels, strict=True)]
        first = {"state": "dry-run", "metrics": plans[0], "warnings": list(parcels[0].warnings)}
        session.output.document({"command": "push", "phase": "push", **first, "plans": plans})
        return
    for parcel in parcels:
        show_parcel(session, parcel, public=public)
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


def show_parcel(session: Session, parcel: Parcel, *, public: bool) -> None:
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
