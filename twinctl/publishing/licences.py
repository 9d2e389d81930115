"""Licences: of the base, which the twin inherits, and of the data.

What must stay true: a licence is what the owner's own card says, at the commit that was used; where that cannot be
read, none is named. Llama's asks for words on every card, which are data here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from twinctl.errors import HubError
from twinctl.pipeline.base_checkpoint import BaseCheckpoint

HUB = "https://huggingface.co"
RepoKind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Terms:
    """What a licence asks for: `built` on the card, `notice` in a file of its own, `prefix` at the name's beginning."""

    family: str
    built: str
    notice: str
    prefix: str
    policy: str


def _llama(version: str, address: str, *, built: str = "Built with Llama", prefix: str = "Llama") -> Terms:
    maker = "Meta Llama" if version == "3" else "Llama"
    title = "LLAMA" if version == "2" else maker
    notice = (
        f"{maker} {version} is licensed under the {title} {version} Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved."
    )
    return Terms(f"Llama {version}", built, notice, prefix, address)


TERMS: Mapping[str, Terms] = {
    "llama2": _llama("2", "https://ai.meta.com/llama/use-policy", built="", prefix=""),
    "llama3": _llama(
        "3", "https://llama.meta.com/llama3/use-policy", built="Built with Meta Llama 3", prefix="Llama 3"
    ),
    "llama3.1": _llama("3.1", "https://www.llama.com/llama3_1/use-policy"),
    "llama3.2": _llama("3.2", "https://www.llama.com/llama3_2/use-policy"),
    "llama3.3": _llama("3.3", "https://www.llama.com/llama3_3/use-policy"),
    "llama4": _llama("4", "https://www.llama.com/llama4/use-policy"),
}


@dataclass(frozen=True)
class Licence:
    """A licence as the Hub's cards name it: an id, and for `other` a name and a link."""

    id: str | None = None
    name: str | None = None
    link: str | None = None

    @property
    def terms(self) -> Terms | None:
        """What it wants said, if it is one of Llama's."""
        return TERMS.get(self.id or "") or TERMS.get(self.name or "")

    @property
    def shown(self) -> str:
        """For a table: its name, or that there is none."""
        return (self.name if self.id == "other" else self.id) or "not stated"


UNKNOWN = Licence()


def terms_of(base: BaseCheckpoint, licence: Licence) -> Terms | None:
    """What the base's licence asks for; where none could be read, what Llama's would, if the base is called one."""
    if licence.id is not None:
        return licence.terms
    match = re.search(r"llama[-_ ]?([234](?:\.\d)?)(?![\d.]*b\b)", base.public_name, re.IGNORECASE)
    return TERMS.get(f"llama{match[1]}") if match else None


def base_licence(base: BaseCheckpoint) -> Licence:
    """What the base's card says. Asks the Hub for one that is there; nothing is asked for a local one."""
    if base.repo:
        files = f"{HUB}/{base.repo}/blob/{base.sha or 'main'}"
        licence = licence_of(card_data("model", base.repo, base.sha), files)
        return replace(licence, link=f"{files}/LICENSE") if licence.terms and not licence.link else licence
    return licence_of(_local_card(base.local), "")


def licence_of(data: Mapping[str, Any], files: str) -> Licence:
    """That in a card's metadata; `files`: the address of its own files, which a relative link is below."""
    named = {name: _text(data.get(name)) for name in ("license", "license_name", "license_link")}
    link = named["license_link"]
    if link and "://" not in link:
        link = f"{files}/{link}" if files else None
    return Licence(named["license"], named["license_name"], link)


def card_data(kind: RepoKind, repo: str, sha: str | None) -> dict[str, Any]:
    """A repository's card as values, at a commit; empty where the Hub has none to give."""
    from twinctl.hub.client import SECONDS, api
    from twinctl.hub.failures import Target, hub_errors

    with suppress(HubError), hub_errors(Target(kind, repo, sha)):
        info = api().repo_info(repo, repo_type=kind, revision=sha, timeout=SECONDS)
        data = getattr(info, "card_data", None)
        return dict(data.to_dict()) if data else {}
    return {}


def _local_card(folder: Path | None) -> dict[str, Any]:
    """The metadata of the card in a model's folder."""
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    card = folder / "README.md" if folder else None
    if card is None or not card.is_file():
        return {}
    with suppress(OSError, ValueError, YAMLError):
        return dict(metadata_load(card) or {})
    return {}


def _text(value: Any) -> str | None:
    """A card can have a list of licences: the first."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) and first.strip() else None
