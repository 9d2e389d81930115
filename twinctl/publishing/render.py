"""The whole card.

What must stay true: the same records give the same card, to the byte, so that a push that changes nothing sends
nothing; no secret is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twinctl.config.secrets import redact
from twinctl.hub.names import require_new_name
from twinctl.ollama.modelfile import hub_files
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing import sections
from twinctl.publishing.data_sources import data_sources
from twinctl.publishing.facts import gather
from twinctl.publishing.licences import base_licence
from twinctl.publishing.loss_plot import loss_curve
from twinctl.publishing.metadata import metadata
from twinctl.publishing.usage import usage
from twinctl.publishing.user_edits import composed


@dataclass(frozen=True)
class Card:
    """README.md's text, and the files that it needs with it, by name."""

    text: str
    files: dict[str, bytes] = field(default_factory=dict)


def render(
    view: RunView,
    kind: Kind,
    repo: str | None,
    *,
    results: Sequence[Result] | None = None,
    merged_repo: str | None = None,
    sample: bool = True,
) -> Card:
    """The card of the run's adapter, model or gguf for a repository; without one the commands say OWNER/NAME.

    `results`: what is sent, if that is not the newest result (for gguf: all of `gguf_results`). `merged_repo`: where a
    GGUF's 16-bit model is on the Hub. `sample`: whether a held-out prompt and its answer are shown. The Hub is asked
    for the licences of what is there. Raises UpstreamError when something that the card describes is not there.
    """
    for name in (repo, merged_repo):
        if name is not None:
            require_new_name(name)
    facts = gather(view, kind, repo, results=results, merged_repo=merged_repo)
    licence, sources = base_licence(facts.base), data_sources(facts.tokens)
    texts = {
        "about": sections.about(facts, licence),
        "use": usage(facts),
        "sample": sections.sample(facts) if sample else "",
        "data": sections.data(facts, sources),
        "recipe": sections.recipe(facts),
        "loss": sections.curve(facts),
        "evaluation": sections.evaluation(facts),
        "parity": sections.parity(facts),
        "limits": sections.limits(),
        "provenance": sections.provenance(facts),
    }
    text = composed(facts.name, metadata(facts, licence, sources), {name: text for name, text in texts.items() if text})
    files = hub_files(facts.modelfile) if facts.kind == Kind.GGUF and facts.modelfile else {}
    if sections.has_curve(facts):
        files[sections.CURVE_FILE] = loss_curve(facts.history.losses, facts.history.evaluations)
    return Card(redact(text), files)
