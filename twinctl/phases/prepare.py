"""prepare: anybody's writing → template + EOS → tokens → a seeded split, as Arrow files that train reads as they are.

What must stay true: what is hashed is the content of data, tokenizer and template, and the recipe; an unsound sample
commits nothing; the audit of what was read, kept and dropped is kept with the tokens.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from twinctl.config.prepare import PrepareOptions, PrepareRecipe, Sources
from twinctl.config.resolve import Values
from twinctl.config.secrets import redact
from twinctl.data.source import Role, Source, resolve_sources, source_changes, with_unique_names
from twinctl.data.tokens import TRAIN, TokensInfo, TokensWriter
from twinctl.errors import ConfigError
from twinctl.pipeline.base_checkpoint import TOKENIZER_FILES, BaseCheckpoint, find_base_model
from twinctl.pipeline.phase import Attempt, Phase, Plan, Produced
from twinctl.pipeline.run_view import RunView
from twinctl.pipeline.staleness import changed_values, settings_now
from twinctl.workspace.artifact import Record
from twinctl.workspace.files import write_json
from twinctl.workspace.layout import SPOOL

AUDIT_FILE, OWN_TEMPLATE = "audit.json", "chat_template.jinja"
BINS = 24
# The least share of the author's tokens, and how many general ones for each are advised where it is less.
ENOUGH, ADVISED = 0.15, 4


@dataclass(frozen=True)
class PrepareInputs:
    """The folder of the base's tokenizer, and the sources of the data as they were found."""

    tokenizer: Path
    sources: tuple[Source, ...]


PreparePlan: TypeAlias = Plan[PrepareRecipe, PrepareOptions, PrepareInputs]


def plan(view: RunView, preset: str, values: Values, *, refresh: bool = False) -> PreparePlan:
    """The request, with data and model resolved to content. May ask the Hub for what the run has not pinned yet."""
    from twinctl.data.shapes import column_map

    recipe, options = values.build(PrepareRecipe), values.build(PrepareOptions)
    column_map(recipe.map)
    if not options.data:
        raise ConfigError("there are no author's rows", "name them: twinctl prepare -d FILE_OR_FOLDER")
    pinned, spool = view.run.pins.get("sources", []), view.workspace.root / SPOOL

    def resolved(role: Role, wanted: Sources) -> list[Source]:
        return resolve_sources(wanted, role, view.memo, pinned, refresh=refresh, spool=spool)

    general = () if recipe.general_rows == 0 else options.general
    # Before the model: a mistyped path is an error at once, not after what the Hub says of another thing.
    sources = with_unique_names([*resolved("author", options.data), *resolved("general", general)])
    model = find_base_model(options.model, options.revision, view.memo, view.run.pins.get("model"), refresh=refresh)
    return Plan(
        phase=PHASE,
        slot="prepare",
        slug=f"{recipe.template}-{recipe.max_length}-{model.name}",
        produces="tokens",
        recipe=recipe,
        origins=dict(values.origins),
        inputs={
            "tokenizer": model.tokenizer_digest,
            "template": _template_digest(recipe.template, model),
            "sources": [source.identity for source in sources],
        },
        parents={},
        options=options,
        resolve_inputs=lambda: PrepareInputs(model.folder(weights=False), tuple(sources)),
        pins={
            "preset": preset,
            "model": model.stored(),
            "template": recipe.template,
            "max_length": recipe.max_length,
            "sources": [source.stored() for source in sources],
            "asked": _asked(options),
        },
    )


def _template_digest(name: str, model: BaseCheckpoint) -> str | None:
    """A model's own template is in its tokenizer's files, or in a file of its own."""
    from twinctl.data.template import packaged

    if name == "model":
        return model.files.get(OWN_TEMPLATE)
    return hashlib.sha256(packaged(name).encode()).hexdigest()


def _asked(options: PrepareOptions) -> dict[str, Any]:
    """Model and data as they were named: a source of which no more was said, by its name alone."""
    sources = {"data": options.data, "general": options.general}
    named = {
        name: [source.model_dump(mode="json", exclude_defaults=True) for source in of] for name, of in sources.items()
    }
    short = {name: [source if len(source) > 1 else source["source"] for source in of] for name, of in named.items()}
    return {"model": options.model, **short}


def run(attempt: Attempt[PrepareRecipe, PrepareOptions, PrepareInputs]) -> Produced:
    """Write train.arrow, eval.arrow, tokens.json, template.jinja and audit.json into `out`.

    Raises ConfigError for bad rows or when none is left, CheckFailed when a sample is not fit to train on.
    """
    from twinctl.data.packing import best_fit
    from twinctl.data.preparation import Preparation
    from twinctl.data.template import load_template
    from twinctl.data.tokenizer import TextTokenizer

    recipe, folder = attempt.recipe, attempt.inputs.tokenizer
    tokenizer = TextTokenizer.load(folder)
    template = load_template(recipe.template, folder, tokenizer)
    with TokensWriter(attempt.out, salt=f"{template.text}\0{template.eos_id}") as writer:
        work = Preparation(recipe, tokenizer, template, writer, attempt.event)
        work.run(list(attempt.inputs.sources))
    report = work.report
    report.require_sound()
    attempt.stage("packing")
    lengths = writer.lengths(TRAIN)
    rows = len(best_fit(lengths.tolist(), recipe.max_length))
    packing = {
        "rows": rows,
        "room": recipe.max_length,
        "efficiency": round(int(lengths.sum()) / (rows * recipe.max_length), 4),
    }
    TokensInfo(template.text, recipe.max_length, template.eos).write(attempt.out)
    metrics = report.metrics()
    examples = [{**each, "text": redact(each["text"])} for each in report.examples]
    audit = {"examples": examples, "histogram": histogram(lengths, recipe.max_length), "packing": packing}
    write_json(attempt.out / AUDIT_FILE, {**audit, "sources": metrics["sources"]})
    metrics |= {"packed_rows": rows, "packing_efficiency": packing["efficiency"]}
    return Produced(metrics=metrics, digest=writer.digest, warnings=_warnings(metrics, recipe))


def histogram(lengths: Any, room: int) -> dict[str, list[int]]:
    """How many training samples have which length: `edges` in tokens, one more than `counts`."""
    import numpy as np

    counts, edges = np.histogram(lengths, bins=np.unique(np.linspace(0, room, BINS + 1).astype(int)))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _warnings(metrics: dict[str, Any], recipe: PrepareRecipe) -> list[str]:
    """What a person should know before training on this."""
    warnings = []
    if recipe.eval_fraction and not metrics["eval_rows"]:
        warnings.append("all rows are of one question or document, so none is held out for an eval loss: add others")
    long, read = metrics["rows_dropped"].get("over max length", 0), metrics["rows_read"]
    if long * 20 > read:
        warnings.append(f"{long} of {read} rows are over {recipe.max_length} tokens: --max-length, or --overlong split")
    tokens = metrics["tokens_by_role"]
    share = tokens.get("author", 0) / metrics["tokens"]
    if share < ENOUGH:
        fitting = int(metrics["rows_by_role"]["general"] * ADVISED * tokens.get("author", 0) / tokens["general"])
        warnings.append(f"the author's are {share:.0%} of the tokens: --general {fitting}, or add writing with -d")
    return warnings


def changed(view: RunView, record: Record) -> list[str]:
    """Other data or another model in the settings, or files that are not what they were. What is not there, as after a
    move to another machine, changes nothing.
    """
    reasons, run = [], view.run
    if "asked" in run.pins:  # the first version did not keep it
        now = _asked(settings_now(PHASE, run).build(PrepareOptions))
        if record.recipe.get("general_rows") == 0:  # asked to take none, whichever are named
            del now["general"]
        reasons += changed_values(record, run.pins["asked"], now)
    for stored in run.pins["sources"]:
        reasons += source_changes(Source.of(stored), view.memo)
    tokenizer = (*TOKENIZER_FILES, OWN_TEMPLATE) if record.recipe["template"] == "model" else TOKENIZER_FILES
    reasons += [f"the model's {name} changed" for name in view.base.changed_files(tokenizer, view.memo)]
    return reasons


PHASE = Phase(
    "prepare",
    2,
    "prepare",
    PrepareRecipe,
    PrepareOptions,
    PrepareInputs,
    run,
    makes=("tokens",),
    section="prepare",
    changed=changed,
)
