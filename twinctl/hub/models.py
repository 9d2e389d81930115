"""Models on the Hub: identity without a download, and the files on disk when they are needed.

What must stay true: `files` names exactly the files that decide what the model is, so that a mirror or a local copy
with the same bytes is the same model; nothing else is ever downloaded; a snapshot that is complete in the cache is used
without asking anybody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from twinctl.errors import HubError
from twinctl.hub.client import api, cached_sha, offline, repo_info
from twinctl.hub.failures import Target, hub_errors, not_cached
from twinctl.workspace.memo import file_sha256

ABOUT = ("README.md",)  # says the licence; none of the model's identity
CONFIG_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""What decides, besides the weights, what a model says."""

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class HubModel:
    """A model repo at a commit, and the sha256 of every file that decides what it is."""

    repo_id: str
    sha: str
    files: dict[str, str]


def is_model_file(name: str) -> bool:
    """Whether a file of a model folder, by its path there, counts for the model's identity."""
    return name in CONFIG_FILES or (name.endswith(".safetensors") and "/" not in name)


def resolve_model(repo_id: str, revision: str | None = None) -> HubModel:
    """Resolve a model id, at a branch, tag or commit, to a commit and its files' digests.

    No weight is downloaded: the Hub keeps the sha256 of every large file. In offline mode the cached copy is read
    instead, weights and all, and gives the same answer. Raises HubError.
    """
    target = Target("model", repo_id, revision)
    model = _resolve_cached(target) if offline() else _resolve_online(target)
    if not any(name.endswith(".safetensors") for name in model.files):
        raise HubError(
            f"{repo_id} has no *.safetensors weights at its top level.", f"Pick another repo, or {target.alternative}."
        )
    return model


def _resolve_online(target: Target) -> HubModel:
    info = repo_info(target, files=True)
    pinned = Target("model", target.repo_id, str(info.sha))
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else "" for file in info.siblings or ()}
    files = {name: digest for name, digest in sorted(digests.items()) if is_model_file(name)}
    small = [name for name, digest in files.items() if not digest]
    if small:
        with hub_errors(pinned):
            folder = _snapshot(pinned, small)
        files |= {name: file_sha256(folder / name) for name in small}
    return HubModel(target.repo_id, str(info.sha), files)


def _resolve_cached(target: Target) -> HubModel:
    pinned = Target("model", target.repo_id, cached_sha(target))
    folder = cached_folder(pinned, weights=True)
    if folder is None:
        raise not_cached(target)
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if is_model_file(path.name)}
    return HubModel(target.repo_id, str(pinned.revision), files)


def download_model(repo_id: str, sha: str, *, weights: bool) -> Path:
    """The folder with the model's files at a commit; without `weights` only its config and tokenizer.

    What the cache has is not asked for again, and a complete snapshot needs no network. Raises HubError.
    """
    target = Target("model", repo_id, sha)
    folder = cached_folder(target, weights=weights)
    if folder is not None:
        return folder
    if offline():
        raise not_cached(target)
    repo_info(target)
    with hub_errors(target):
        return _snapshot(target, _wanted(weights))


def _wanted(weights: bool) -> list[str]:
    return [*CONFIG_FILES, *ABOUT, *(["*.safetensors", _INDEX] if weights else [])]


def _snapshot(target: Target, names: list[str], *, local_files_only: bool = False) -> Path:
    """The client's snapshot with at least these files, none of them in a subfolder."""
    return Path(
        api().snapshot_download(
            target.repo_id,
            revision=target.revision,
            allow_patterns=names,
            ignore_patterns=["*/*"],
            local_files_only=local_files_only,
        )
    )


def cached_folder(target: Target, *, weights: bool) -> Path | None:
    """The snapshot, if nothing is missing from it.

    The client vouches for a snapshot only where it once listed the commit; a cache filled by other tools may have no
    such list, so what loading needs is looked for as well.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    with hub_errors(target):
        try:
            folder = _snapshot(target, _wanted(weights), local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        needed = {"config.json"}
        if weights and (folder / _INDEX).is_file():  # then loading reads the files that the index names
            needed |= set(json.loads((folder / _INDEX).read_text())["weight_map"].values())
        elif weights:
            needed.add("model.safetensors")
    tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    return folder if tokenizer and all((folder / name).is_file() for name in needed) else None
