"""export: the files to hand out. Each is a cached result of its own, and one merge serves every other file.

What must stay true: what files are made of is proven before they are made; a file that was made without a proof gets it
when it is exported again, unless none is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from twinctl.config.export import ExportOptions, GgufRecipe, Merge4bitRecipe, MergeRecipe, Precision, Quant
from twinctl.config.push import PushKind
from twinctl.config.resolve import values_of
from twinctl.errors import ConfigError
from twinctl.phases import gguf, merge, merge_4bit
from twinctl.pipeline.execute import Executor, Outcome
from twinctl.pipeline.kind import Kind, is_exported
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.verification.verify_artifact import is_proven, prove_again


class Verify(Enum):
    """Which files are proven to be what was trained."""

    UNPROVEN = "what has no proof yet"
    ALL = "everything that is asked for, again where it has a proof"
    NONE = "nothing"


@dataclass(frozen=True)
class ExportRequest:
    """Which files are wanted: the adapter, merged models by their precision, GGUF files by their quantisation."""

    adapter: bool = False
    precision: Sequence[Precision] = ()
    quant: Sequence[Quant] = ()
    verify: Verify = Verify.UNPROVEN
    wait: bool = False
    restart: bool = False


def default_files(view: RunView) -> ExportOptions:
    """The precisions and quantisations that the settings name for the run."""
    return values_of("export", (ExportOptions,), view.run.pins["preset"], {}).build(ExportOptions)


def export(view: RunView, request: ExportRequest, executor: Executor) -> list[Outcome]:
    """The wanted files: the adapter, the merged models, the GGUF files. Raises TwinctlError."""
    if request.quant:
        gguf.require_writable(view)  # before the merge, which takes long
    outcomes = []
    if request.adapter:
        outcomes.append(Outcome(view.need(Kind.ADAPTER), cached=True))
    if request.precision or request.quant:
        is_wanted = "16bit" in request.precision
        # Proven again only where it is asked for itself.
        of_model = request if is_wanted or request.verify is Verify.NONE else replace(request, verify=Verify.UNPROVEN)
        model = _proven(view, export_model(view, of_model, executor), of_model, executor)
        outcomes += [model] if is_wanted else []
    makes_proof = request.verify is not Verify.NONE
    if "4bit" in request.precision:
        rounded = merge_4bit.plan(view.reload(), Merge4bitRecipe(), verify=makes_proof)
        outcome = executor.execute(view.name, rounded, wait=request.wait, restart=request.restart)
        outcomes.append(_proven(view, outcome, request, executor))
    for quant in request.quant:
        file = gguf.plan(view.reload(), GgufRecipe(name=view.name, quant=quant), verify=makes_proof)
        outcome = executor.execute(view.name, file, wait=request.wait, restart=request.restart)
        outcomes.append(_proven(view, outcome, request, executor))
    return outcomes


def export_model(view: RunView, request: ExportRequest, executor: Executor) -> Outcome:
    """The run's whole 16-bit model: the adapter merged into its base, or what full fine-tuning made."""
    trained = view.trained()
    if trained.kind == Kind.MODEL:
        return Outcome(trained, cached=True)
    plan = merge.plan(view, MergeRecipe(), verify=request.verify is not Verify.NONE)
    return executor.execute(view.name, plan, wait=request.wait, restart=request.restart)


def _proven(view: RunView, outcome: Outcome, request: ExportRequest, executor: Executor) -> Outcome:
    record = outcome.record
    is_due = not is_proven(record) or (request.verify is Verify.ALL and outcome.cached)
    if request.verify is Verify.NONE or not is_exported(record) or record.phase == "pull" or not is_due:
        return outcome
    with executor.watching(record.slot) as watch:
        return replace(outcome, result=prove_again(view.reload(), outcome.result, watch, wait=request.wait))


def results_to_push(view: RunView, kind: PushKind, executor: Executor, *, wait: bool = False) -> list[Result]:
    """The results of a kind to send to the Hub; what is not exported yet is."""
    from twinctl.publishing import gguf_results

    request = ExportRequest(wait=wait)
    if kind == "adapter":
        return [view.need(Kind.ADAPTER)]
    if kind == "model":
        return [export_model(view, request, executor).result]
    if results := gguf_results(view):
        return results
    gguf.require_writable(view)  # before the merge, which takes long
    quants = default_files(view).quant
    executor.say(f"push: there is no GGUF file yet; exporting {', '.join(quants)} first")
    export_model(view, request, executor)
    for quant in quants:
        executor.execute(view.name, gguf.plan(view.reload(), GgufRecipe(name=view.name, quant=quant)), wait=wait)
    return gguf_results(view.reload())


def exported_results(view: RunView, kind: PushKind) -> tuple[list[Result], list[str]]:
    """The results of a kind that can be sent now, or what is to be exported first. Raises UpstreamError when nothing is
    trained.
    """
    from twinctl.publishing import gguf_results

    if kind == "gguf" and (results := gguf_results(view)):
        return results, []
    if kind == "adapter" or (kind == "model" and view.find(Kind.MODEL)):
        return [view.need(Kind(kind))], []
    view.trained()
    missing = [] if view.find(Kind.MODEL) else ["the merged 16-bit model"]
    if kind == "gguf":
        gguf.require_writable(view)
        missing += [f"the {quant} GGUF file" for quant in default_files(view).quant]
    return [], missing


def copy_files(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Put the files into a folder of the user's, in one folder for each result where several have files of one name,
    and give back where they are. Raises ConfigError, BusyError: see `export_dir.export_files`.
    """
    from twinctl.phases.export_dir import export_files

    names = Counter(entry.name for outcome in outcomes for entry in outcome.record.files)
    is_shared = any(count > 1 for count in names.values())
    paths: list[Path] = []
    for outcome in outcomes:
        own = folder / outcome.record.slot if is_shared else folder
        own.parent.mkdir(parents=True, exist_ok=True)
        paths += export_files([outcome.artifact.out / entry.name for entry in outcome.record.files], own)
    return paths


def require_modelfiles(outcomes: Sequence[Outcome]) -> None:
    """Raise ConfigError for a GGUF file without a Modelfile, which Ollama needs."""
    from twinctl.ollama.modelfile import FILE_NAME

    for outcome in outcomes:
        if outcome.result.kind == Kind.GGUF and not (outcome.artifact.out / FILE_NAME).is_file():
            raise ConfigError(
                "; ".join(outcome.record.warnings) or "there is no Modelfile",
                "use the file with llama.cpp or LM Studio",
            )
