"""What a push sends: the run's results of a kind, exported on the way where they are not there yet."""

from __future__ import annotations

from twinctl.cli.export import model_of
from twinctl.cli.session import Session
from twinctl.config.export import ExportOptions, GgufRecipe, Quant
from twinctl.config.push import PushKind
from twinctl.config.resolve import values_of
from twinctl.phases import gguf
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView


def make(session: Session, view: RunView, kind: PushKind, *, wait: bool) -> list[Result]:
    """The results to send; what is not exported yet is."""
    from twinctl.publishing import gguf_results

    if kind == "adapter":
        return [view.need(Kind.ADAPTER)]
    if kind == "gguf":
        return gguf_results(view) or _exported_gguf(session, view, wait=wait)
    return [model_of(session, view, wait=wait).result]


def _exported_gguf(session: Session, view: RunView, *, wait: bool) -> list[Result]:
    """The GGUF files that `export --gguf` makes."""
    from twinctl.publishing import gguf_results

    gguf.require_writable(view)  # before the merge, which takes long
    quants = _quants(view)
    session.output.say(f"push: there is no GGUF file yet; exporting {', '.join(quants)} first")
    model_of(session, view, wait=wait)
    for quant in quants:
        wanted = gguf.plan(session.view(), GgufRecipe(name=view.name, quant=quant))
        session.execute(view.name, wanted, wait=wait)
    return gguf_results(session.view())


def _quants(view: RunView) -> tuple[Quant, ...]:
    return values_of("export", (ExportOptions,), view.run.pins["preset"], {}).build(ExportOptions).quant


def made_already(view: RunView, kind: PushKind) -> tuple[list[Result], list[str]]:
    """The results that are there to be sent, or what is to be exported first. Raises UpstreamError when nothing is
    trained.
    """
    from twinctl.publishing import gguf_results

    if kind == "gguf" and (results := gguf_results(view)):
        return results, []
    if kind == "adapter" or (kind == "model" and view.find(Kind.MODEL)):
        return [view.need(Kind(kind))], []
    view.trained()
    merge = [] if view.find(Kind.MODEL) else ["the merged 16-bit model"]
    if kind == "gguf":
        gguf.require_writable(view)
    return [], [*merge, *(f"the {quant} GGUF file" for quant in _quants(view) if kind == "gguf")]
