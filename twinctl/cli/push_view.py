"""A push before it is done: what would go where, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from twinctl.cli.output import size
from twinctl.cli.session import Session
from twinctl.config.push import PushRecipe
from twinctl.publishing.upload_plan import KINDS, UploadPlan


def show_plan(session: Session, recipes: list[PushRecipe], uploads: list[UploadPlan], *, public: bool) -> None:
    """All of it, and that nothing was sent."""
    if session.output.json:
        plans = [_plan_document(recipe, upload, public) for recipe, upload in zip(recipes, uploads, strict=True)]
        first = {"state": "dry-run", "metrics": plans[0], "warnings": list(uploads[0].warnings)}
        session.output.document({"command": "push", "phase": "push", **first, "plans": plans})
        return
    for upload in uploads:
        show_upload(session, upload, public=public)
    session.output.say("nothing was sent")


def _plan_document(recipe: PushRecipe, upload: UploadPlan, public: bool) -> dict[str, Any]:
    files = [
        {"name": name, "bytes": it.size, "sha256": it.sha256, "change": upload.changes[name]}
        for name, it in upload.local.items()
    ]
    there = {"asked": upload.remote is not None, "exists": bool(upload.remote and upload.remote.exists)}
    about = {"repo": recipe.repo, "kind": recipe.kind, "revision": recipe.revision, "private": not public, **there}
    sizes = {"bytes": upload.bytes(), "to_send": upload.bytes(upload.to_send)}
    return {
        **about,
        "exports": list(upload.first),
        "files": files,
        "removes": upload.gone,
        "left": list(upload.left),
        **sizes,
    }


def show_upload(session: Session, upload: UploadPlan, *, public: bool) -> None:
    """Every file with its size, digest and what becomes of it."""
    output, there = session.output, upload.remote
    how = "" if there is None else " (new)" if not there.exists else " (there already)"
    kind = f"the {'public' if public else 'private'} model repository {upload.repo}"
    count, total = len(upload.to_send), size(upload.bytes(upload.to_send))
    what = f"send {count} of {len(upload.local)} files, {total}, to"
    if upload.first:
        what = f"export {' and '.join(upload.first)} first, then send what is made to"
    output.line(f"would {what} {kind}{how}: {KINDS[upload.kind]}")
    rows = [[name, size(it.size), it.sha256[:12], upload.changes[name]] for name, it in upload.local.items()]
    output.table([*rows, *([name, "", "", "gone"] for name in upload.gone)])
    for name in upload.left:
        output.say(f"stays here: {name}")
    for warning in upload.warnings:
        output.warn(warning)
