"""The base model: found once by prepare, pinned by content, checked at every later use.

What must stay true: a base model's identity is the sha256 of its weight, config and tokenizer files, so a Hub id, a
mirror and a local folder of the same files are one model; where it is found is a locator, which is stored with it and
never hashed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from twinctl.errors import ConfigError, UpstreamError
from twinctl.workspace.fingerprint import differences, fingerprint
from twinctl.workspace.memo import DigestMemo, read_all
from twinctl.workspace.run import Run

BUNDLED = "bundled:base"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class BaseCheckpoint:
    """A located and pinned base model. `files`: name → sha256."""

    locator: str
    path: str | None = None
    repo: str | None = None
    revision: str | None = None
    sha: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> Path | None:
        """Its folder, if it is a local one; the bundled one is part of the installed twinctl."""
        if self.locator == BUNDLED:
            from twinctl.bundled import BASE

            return BASE
        return Path(self.path) if self.path else None

    @property
    def digest(self) -> str:
        """The identity of the whole model."""
        return fingerprint(self.files)

    @property
    def tokenizer_digest(self) -> str:
        """The identity of what turns text into ids."""
        return fingerprint({name: digest for name, digest in self.files.items() if name in TOKENIZER_FILES})

    @property
    def name(self) -> str:
        """A short name for slugs and tables: llama-3.1-8b."""
        text = "tiny" if self.locator == BUNDLED else Path(self.path or self.repo or "model").name
        return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:40] or "model"

    @property
    def public_name(self) -> str:
        """The name by which others may find it: the Hub id, or the folder's name; never a path of this machine."""
        if self.locator == BUNDLED:
            return "twinctl's bundled base"
        return self.repo or Path(self.path or self.locator).name

    def stored(self) -> dict[str, Any]:
        """As plain values, for a run's pins."""
        return asdict(self)

    def folder(self, *, weights: bool) -> Path:
        """The folder of its files here; a Hub model is downloaded first. Raises HubError or UpstreamError."""
        path = self.local
        if path is None and self.repo and self.sha:
            from twinctl.hub import download_model

            return download_model(self.repo, self.sha, weights=weights)
        if path is None or not path.is_dir():
            raise UpstreamError(
                f"the base model is not at {path} any more", "say where it is now: add --model-path FOLDER"
            )
        return path

    def moved_to(self, folder: Path, memo: DigestMemo) -> BaseCheckpoint:
        """The same model in another place. Raises UpstreamError when the files there are not the same."""
        files = _local_files(folder.expanduser(), memo)
        if changed := differences(self.files, files):
            raise UpstreamError(
                f"{folder} holds another model than the run's, {self.locator}: {'; '.join(changed)}",
                "give a folder with the same files, or prepare a run on this model: twinctl prepare --model FOLDER",
            )
        return replace(self, path=str(folder.expanduser().resolve()))

    def check(self, memo: DigestMemo, run: str) -> None:
        """Raise UpstreamError when a local model's files are not those that prepare saw for the run."""
        if self.local and self.local.is_dir():
            changed = differences(self.files, _local_files(self.local, memo))
            if changed:
                raise UpstreamError(
                    f"the base model in {self.local} changed since prepare: {'; '.join(changed)}",
                    f"prepare again: twinctl prepare --run {run} --model {shlex.quote(self.locator)}",
                )

    def changed_files(self, names: Sequence[str], memo: DigestMemo) -> list[str]:
        """Those of these files that are not in a local model's folder what they were; none where there is no folder."""
        folder = self.local
        if folder is None or not folder.is_dir():
            return []
        now = {name: memo.sha256(folder / name) for name in names if (folder / name).is_file()}
        return [name for name in names if now.get(name) != self.files.get(name)]


def base_of(run: Run) -> BaseCheckpoint:
    """The base model that prepare pinned in the run."""
    return BaseCheckpoint(**run.pins["model"])


def find_base_model(
    locator: str, revision: str | None, memo: DigestMemo, pinned: dict[str, Any] | None, *, refresh: bool
) -> BaseCheckpoint:
    """Resolve a locator. A Hub commit that the run has pinned is kept unless `refresh`.

    Raises ConfigError when it is neither a model's folder nor a Hub id, HubError when the Hub refuses.
    """
    if locator == BUNDLED:
        from twinctl.bundled import BASE

        return BaseCheckpoint(locator, files=_local_files(BASE, memo))
    path = Path(locator).expanduser()
    if pinned and pinned["locator"] == locator and pinned["path"] and not path.is_dir():
        path = Path(pinned["path"])  # where --model-path found it last
    if not locator.startswith("hf:") and path.is_dir():
        return BaseCheckpoint(locator, path=str(path.resolve()), files=_local_files(path, memo))
    repo = locator.removeprefix("hf:")
    from twinctl.hub.names import is_repo_id

    if locator.startswith((".", "/", "~")) or not is_repo_id(repo):
        raise ConfigError(f"there is no model at {locator}", "give a model's folder or a Hub id: --model OWNER/NAME")
    if pinned and not refresh and pinned.get("repo") == repo and pinned.get("revision") == revision:
        return BaseCheckpoint(**pinned)
    from twinctl.hub import resolve_model

    remote = resolve_model(repo, revision)
    return BaseCheckpoint(locator, repo=repo, revision=revision, sha=remote.sha, files=dict(remote.files))


def _local_files(folder: Path, memo: DigestMemo) -> dict[str, str]:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} holds no model: config.json is not there", "give the folder that from_pretrained loads"
        )
    from twinctl.hub import is_model_file

    names = sorted(path.name for path in folder.iterdir() if is_model_file(path.name))
    if not any(name.endswith(".safetensors") for name in names):
        raise ConfigError(
            f"{folder} has no *.safetensors files", "convert its weights to safetensors, or choose another model"
        )
    return dict(zip(names, read_all([folder / name for name in names], memo.sha256), strict=True))
