"""What a push sends: the run's results of a kind, exported on the way where they are not there yet."""

from __future__ import annotations

from twinctl.cli.export import model_of
from twinctl.cli.session import Session
from twinctl.config.export import ExportOptions, GgufRecipe, Quant
from twinctl.config.push import Kind
from twinctl.config.resolve import values_of
from twinctl.phases import gguf
from twinctl.pipeline.lineage import Found, find, need, trained
from twinctl.workspace.run import Run


def make(session: Session, run: Run, kind: Kind, *, wait: bool) -> list[Found]:
    """The results to send; what is not exported yet is."""
    from twinctl.publishing import gguf_results

    place = session.workspace
    if kind == "adapter":
        return [need(place, run, kind)]
    if kind == "gguf":
        return gguf_results(place, run) or _exported_gguf(session, run, wait=wait)
    outcome = model_of(session, run, wait=wait)
    return [(place.relative(outcome.artifact), outcome.artifact, outcome.record)]


def _exported_gguf(session: Session, run: Run, *, wait: bool) -> list[Found]:
    """The GGUF files that `export --gguf` makes."""
    from twinctl.publishing import gguf_results

    gguf.require_writable(run)  # before the merge, which takes long
    quants = _quants(run)
    session.output.say(f"push: there is no GGUF file yet; exporting {', '.join(quants)} first")
    model_of(session, run, wait=wait)
    for quant in quants:
        wanted = gguf.plan(session.workspace, session.run(), GgufRecipe(name=run.name, quant=quant))
        session.execute(run.name, wanted, wait=wait)
    return gguf_results(session.workspace, session.run())


def _quants(run: Run) -> tuple[Quant, ...]:
    return values_of("export", (ExportOptions,), run.pins["preset"], {}).build(ExportOptions).quant


def made_already(session: Session, run: Run, kind: Kind) -> tuple[list[Found], list[str]]:
    """The results that are there to be sent, or what is to be exported first. Raises UpstreamError when nothing is
    trained.
    """
    from twinctl.publishing import gguf_results

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
