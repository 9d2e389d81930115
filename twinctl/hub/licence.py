"""The texts of a base model's licence, which go with every twin that is handed on.

What must stay true: the texts are the base's own files at the commit that was used; where they cannot be had, none is
made up.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from twinctl.errors import HubError
from twinctl.hub.client import SECONDS, api, offline, progress_hidden
from twinctl.hub.failures import Target, hub_errors

_NAMES = ("LICENSE", "LICENSE.*", "LICENCE", "LICENCE.*", "USE_POLICY.MD", "NOTICE", "NOTICE.*")
_MOST = 2**20


def licence_texts(repo: str | None, sha: str | None, folder: Path | None) -> dict[str, bytes]:
    """Licence, use policy and notice by name: of the base's folder where it is a local one, else of its repo."""
    if folder is not None:
        paths = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
        return {path.name: path.read_bytes() for path in paths if _is_text(path.name) and path.stat().st_size <= _MOST}
    if repo is None or sha is None or offline():
        return {}
    try:
        with progress_hidden(), hub_errors(Target("model", repo, sha)):
            info = api().model_info(repo, revision=sha, timeout=SECONDS)
            names = [item.rfilename for item in info.siblings or () if _is_text(item.rfilename)]
            downloads = {name: Path(api().hf_hub_download(repo, name, revision=sha)) for name in names}
    except HubError:  # gated, or gone: that they are missing is warned of
        return {}
    return {name: path.read_bytes() for name, path in downloads.items()}


def _is_text(name: str) -> bool:
    return "/" not in name and any(fnmatchcase(name.upper(), pattern) for pattern in _NAMES)
