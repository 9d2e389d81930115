"""The card's YAML: what the Hub reads, and lets people find the twin by.

What must stay true: ids are ids on the Hub, so a local base or local data has none; a relation is the true one: a
merged adapter is a fine-tune (the Hub's “merge” is one of several models), and a GGUF file is “quantized” of the
16-bit twin where that is on the Hub, never of the base itself.
"""

from __future__ import annotations

from typing import Any

from twinctl.publishing.data_sources import PublishedSource
from twinctl.publishing.facts import Facts
from twinctl.publishing.licences import Licence

LIBRARY = {"adapter": "peft", "model": "transformers", "gguf": "gguf"}
_ORDER = (
    *("base_model", "base_model_relation", "library_name", "pipeline_tag", "license", "license_name"),
    *("license_link", "language", "datasets", "tags", "model-index"),
)


def metadata(facts: Facts, licence: Licence, sources: list[PublishedSource]) -> dict[str, Any]:
    """As plain values, in the order in which they are written."""
    from huggingface_hub import ModelCardData

    (base_model, relation), results = _base(facts), _results(facts, sources)
    # A single source of the author's that names no language makes it unknown.
    named = [source.languages for source in sources if source.role == "author"]
    languages = sorted({language for languages in named for language in languages}) if all(named) else []
    data = ModelCardData(
        base_model=base_model,
        base_model_relation=relation,
        library_name=LIBRARY[facts.kind],
        pipeline_tag="text-generation",
        license=licence.id,
        license_name=licence.name,
        license_link=licence.link,
        language=languages or None,
        datasets=list(dict.fromkeys(source.repo for source in sources if source.repo)) or None,
        tags=_tags(facts),
        model_name=facts.name if results else None,
        eval_results=results or None,
    )
    values = data.to_dict()
    return {name: values[name] for name in dict.fromkeys([*_ORDER, *values]) if name in values}


def _base(facts: Facts) -> tuple[str | None, str | None]:
    if facts.kind == "gguf" and facts.merged_repo:
        return facts.merged_repo, "quantized"
    if facts.base.repo is None:
        return None, None
    return facts.base.repo, "adapter" if facts.kind == "adapter" else "finetune"


def _tags(facts: Facts) -> list[str]:
    method = [] if facts.method == "full" else ["lora"]
    return [
        *("twinctl", "llm-twin", "unsloth", "trl", "sft"),
        *method,
        *(["qlora"] if facts.method == "qlora" else []),
        *(["gguf"] if facts.kind == "gguf" else []),
    ]


def _results(facts: Facts, sources: list[PublishedSource]) -> list[Any]:
    """The loss on held-out rows. It was measured in training, so a quantised file has none."""
    from huggingface_hub import EvalResult

    loss = facts.train.metrics.get("eval_loss")
    if facts.kind == "gguf" or not isinstance(loss, int | float):
        return []
    held_out = [source for source in sources if source.held_out]
    one = held_out[0] if len(held_out) == 1 and held_out[0].repo else None
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Text Generation",
            dataset_type=str(one.repo) if one else "held-out-rows",
            dataset_name=f"held-out rows of {one.repo}" if one else "held-out rows of the training data",
            dataset_revision=one.sha if one else None,
            metric_type="loss",
            metric_name="Eval loss, nats a token",
            metric_value=round(float(loss), 4),
        )
    ]
