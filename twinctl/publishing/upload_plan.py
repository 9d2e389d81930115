"""What one push sends: the files of a result, and what goes with them, checked before anything moves.

What must stay true: a file is sent only if the result's record lists it, its bytes are those of the record, and its
name is one that people load such a result from; card, twinctl.json and licence are made here and go with it; a secret,
a path or a training's private state in any of them stops the push; nothing is written and nothing is sent here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.config.push import PushKind
from twinctl.errors import CheckFailed, UpstreamError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.hub_manifest import FILE, read
from twinctl.publishing.provenance import hub_manifest, original_record
from twinctl.verification.verify_artifact import is_proven, to_prove
from twinctl.workspace.memo import file_sha256

if TYPE_CHECKING:
    from twinctl.hub.remote import Change, LocalFile, RemoteRepo

CARD = "README.md"
SUFFIXES: Mapping[PushKind, str] = {"model": "", "adapter": "-LoRA", "gguf": "-GGUF"}
"""What the Hub's people put behind a name, so that each kind has a repository, and a card, of its own."""
KINDS: Mapping[PushKind, str] = {"model": "merged 16-bit model", "adapter": "adapter", "gguf": "GGUF"}
LARGEST = 50 * 10**9


@dataclass(frozen=True)
class UploadPlan:
    """All of one push. `files`: by name, their path or their content; `left`: files of the result that stay;
    `first`: what is to be exported before there is anything to send, in words.
    """

    kind: PushKind
    repo: str
    results: Sequence[Result]
    files: Mapping[str, Path | bytes]
    local: Mapping[str, LocalFile]
    changes: Mapping[str, Change]
    remote: RemoteRepo | None
    left: Sequence[str] = ()
    warnings: Sequence[str] = ()
    first: Sequence[str] = ()

    @classmethod
    def to_come(
        cls, kind: PushKind, repo: str, remote: RemoteRepo | None, first: Sequence[str], warnings: Sequence[str]
    ) -> UploadPlan:
        """The plan of an upload of which nothing is made yet."""
        return cls(kind, repo, (), {}, {}, {}, remote, warnings=warnings, first=first)

    @property
    def to_send(self) -> list[str]:
        """The files that the Hub does not have yet."""
        return [name for name, change in self.changes.items() if change in ("new", "changed")]

    @property
    def gone(self) -> list[str]:
        """Files of an earlier push that this one takes away."""
        return [name for name, change in self.changes.items() if change == "gone"]

    @property
    def is_there(self) -> bool:
        """Whether the Hub has all of it already."""
        return self.remote is not None and self.remote.has_branch and not self.to_send and not self.gone

    def bytes(self, names: Sequence[str] | None = None) -> int:
        """The size of these files, or of all."""
        return sum(self.local[name].size for name in (self.local if names is None else names))


def repo_for(repo: str, kind: PushKind) -> str:
    """The repository of a kind: REPO for the merged model, REPO-LoRA for the adapter, REPO-GGUF for GGUF files."""
    suffix = SUFFIXES[kind]
    return repo if repo.lower().endswith(suffix.lower()) else repo + suffix


def require_fit(view: RunView, results: Sequence[Result], *, unverified: bool) -> list[str]:
    """Raise UpstreamError for results that are stale or not what was written, CheckFailed for unverified ones unless
    `unverified`, which then are warned of.
    """
    for result in results:
        view.require_current(result.record)
        result.artifact.check(file_sha256, view.name)
    doubtful = [result for result in results if not is_proven(original_record(result))]
    slots = [original_record(result).slot for result in doubtful]
    if doubtful and not unverified:
        command = to_prove(doubtful[0].record, view.name)
        raise CheckFailed(
            f"the {slots[0]} of run “{view.name}” is not verified: nothing shows that it is the twin",
            f"{f'prove it: {command}; or ' if command else ''}push it as it is: --unverified",
        )
    return [f"the {slot} is pushed unverified" for slot in slots]


def pack(
    view: RunView,
    kind: PushKind,
    repo: str,
    results: Sequence[Result],
    remote: RemoteRepo | None,
    *,
    merged_repo: str | None = None,
    warnings: Sequence[str] = (),
) -> UploadPlan:
    """The upload for a repo as `remote` is now (None: not asked). Raises CheckFailed for what must not leave."""
    from twinctl.hub import secret_scan
    from twinctl.hub.remote import LocalFile, RemoteRepo, planned_changes

    contents = _Contents.of(kind, results)
    terms = _licence(view.base, repo, contents)
    contents.files[FILE] = _document(view, kind, results, contents)
    _add_card(contents, view, kind, repo, results, remote, merged_repo)
    roots = [result.out for result in results]
    secrets, places = secret_scan.local_secrets(), secret_scan.local_paths(view.workspace.root)
    secret_scan.require_clean(secret_scan.find_leaks(contents.files, roots, secrets, places))
    local = {
        name: LocalFile.of(content, contents.sha256.get(name, "")) for name, content in sorted(contents.files.items())
    }
    changes = planned_changes(local, remote or RemoteRepo(repo, None), _earlier(remote))
    large = [f"{name} is over 50 GB, which the Hub may not take" for name, it in local.items() if it.size > LARGEST]
    return UploadPlan(
        kind, repo, results, contents.files, local, changes, remote, contents.left, [*warnings, *terms, *large]
    )


@dataclass
class _Contents:
    """The files as they are gathered. `sha256`: of those that a record vouches for."""

    files: dict[str, Path | bytes] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, kind: PushKind, results: Sequence[Result]) -> _Contents:
        from twinctl.hub.secret_scan import allowed

        contents = cls()
        for result in results:
            for entry in result.record.files:
                name, digest = entry.name, entry.sha256
                if not allowed(kind, name) or contents.sha256.get(name, digest) != digest:
                    contents.left.append(name)
                    continue
                contents.files[name], contents.sha256[name] = result.out / name, digest
        if not contents.files:
            raise UpstreamError(f"there is no file of the {KINDS[kind]} to send", "look at it: twinctl inspect export")
        return contents


def _document(view: RunView, kind: PushKind, results: Sequence[Result], contents: _Contents) -> bytes:
    document: dict[str, Any] = hub_manifest(view, Kind(kind), results)
    for result in document["results"]:
        result["files"] = [file for file in result["files"] if contents.sha256.get(file["name"]) == file["sha256"]]
    text = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    read(text, view.name)  # what nobody could pull is not pushed
    return text


def _licence(base: BaseCheckpoint, repo: str, contents: _Contents) -> list[str]:
    """Add the licence's texts, where the result has no file of that name; returns what a person should know of the
    licence before the twin is handed on.
    """
    from twinctl.hub.licence import licence_texts
    from twinctl.publishing.licences import base_licence, terms_of

    texts = licence_texts(base.repo, base.sha, base.local)
    contents.files.update({name: text for name, text in texts.items() if name not in contents.files})
    licence = base_licence(base)
    terms = terms_of(base, licence)
    if terms is None:
        known = licence.id or base.locator.startswith("bundled:")
        return [] if known else ["the base model's licence is not known: see what it allows before handing the twin on"]
    notice = "\n\n".join(part for part in (terms.built, terms.notice) if part)
    contents.files.setdefault("NOTICE", f"{notice}\n".encode())
    owner, _, name = repo.partition("/")
    remarks = []
    if not name.lower().replace("-", " ").startswith(terms.prefix.lower()):
        wanted = f"{owner}/{terms.prefix.replace(' ', '-')}-{name}"
        remarks.append(f"the licence of {terms.family} asks for a name that begins with “{terms.prefix}”: {wanted}")
    if not any(text.upper().startswith("LICEN") for text in texts):
        remarks.append(f"the licence of {terms.family} must go with every copy, and its text was not found")
    return remarks


def _add_card(
    contents: _Contents,
    view: RunView,
    kind: PushKind,
    repo: str,
    results: Sequence[Result],
    remote: RemoteRepo | None,
    merged_repo: str | None,
) -> None:
    """The card, with what somebody wrote into the one that is there."""
    from twinctl.hub.remote import small_file
    from twinctl.publishing.render import render
    from twinctl.publishing.user_edits import merge_with_existing

    written = render(view, Kind(kind), repo, results=results, merged_repo=merged_repo)
    existing = small_file(remote, CARD) if remote else None
    text = merge_with_existing(existing.decode("utf-8", "replace"), written.text) if existing else written.text
    contents.files[CARD] = text.encode()
    contents.files.update(written.files)


def _earlier(remote: RemoteRepo | None) -> dict[str, LocalFile]:
    """What an earlier push put into the repo, by its twinctl.json; nothing where that cannot be read."""
    from twinctl.errors import ConfigError
    from twinctl.hub.remote import LocalFile, small_file

    text = small_file(remote, FILE) if remote else None
    if remote is None or text is None:
        return {}
    try:
        results = read(text, remote.repo).results
    except ConfigError:
        return {}
    return {
        file.name: LocalFile(file.bytes, file.sha256, remote.files[file.name].blob or "")
        for result in results
        for file in result.files
        if file.name in remote.files
    }
