"""The card's sections but for how to load it, each from the facts.

What must stay true: a number is that of a record, and what is not there is said to be not there.
"""

from __future__ import annotations

import math
import time
from typing import Any

from twinctl.publishing.data_sources import PublishedSource, sources_table
from twinctl.publishing.facts import Facts
from twinctl.publishing.licences import HUB, Licence, terms_of
from twinctl.publishing.markdown import code, joined, plain, quote, table
from twinctl.verification.verify_artifact import is_proven
from twinctl.workspace.artifact import Record

CURVE_FILE = "loss_curve.png"
_METHODS = {"lora": "LoRA on the 16-bit base", "qlora": "QLoRA: LoRA on the base in 4 bit", "full": "every weight"}
_WHAT = {
    "adapter": "a LoRA adapter, to be put on its base",
    "model": "a whole model in 16-bit safetensors",
    "gguf": "GGUF files for llama.cpp, Ollama and LM Studio",
}
_LORA_ONLY = ("rank", "alpha", "dropout", "bias", "target_modules", "rslora", "dora")
_PREPARED = ("template", "max_length", "loss", "text_as", "overlong", "dedupe", "general_rows", "eval_fraction", "seed")


def about(facts: Facts, licence: Licence) -> str:
    """What it is, its base, and the words that the base's licence asks for."""
    what = (
        f"An LLM twin: {_base(facts)}, fine-tuned on one person's writing. This repository holds {_WHAT[facts.kind]}."
    )
    terms = terms_of(facts.base, licence)
    built = f"**{terms.built}**" if terms and terms.built else ""
    notice = f"{terms.notice} Its use is bound to the [Acceptable Use Policy]({terms.policy})." if terms else ""
    return joined([built, what, _licence(licence), notice])


def _base(facts: Facts) -> str:
    if facts.base.repo:
        at = f" at commit {code(facts.base.sha[:12])}" if facts.base.sha else ""
        return f"[{plain(facts.base.repo)}]({HUB}/{facts.base.repo}){at}"
    if facts.is_bundled:
        return "the tiny demonstration model that twinctl brings along"
    return f"a local copy of the model {plain(facts.base.public_name)}"


def _licence(licence: Licence) -> str:
    if licence.id is None:
        return "The base's licence could not be read from its card; whatever it is, it holds for this twin as well."
    name = plain(licence.shown)
    link = licence.link if licence.link and licence.link.startswith("https://") else None
    shown = f"[{name}](<{link}>)" if link and not set(link) & set("<> \n") else name
    return f"Licence: {shown}, the base's."


def data(facts: Facts, sources: list[PublishedSource]) -> str:
    """What it was trained on."""
    metrics = facts.tokens.metrics
    roles = metrics.get("tokens_by_role", {})
    total = sum(roles.values()) or 1
    shares = ", ".join(f"{plain(role)} {count / total:.0%}" for role, count in sorted(roles.items()))
    kept = f"{metrics.get('train_rows', 0):,} samples to train on, {metrics.get('eval_rows', 0):,} held out"
    tokens = f"{metrics.get('tokens', 0):,} tokens" + (f" ({shares})" if len(roles) > 1 else "")
    unknown = "Its sources are not known here: the twin was brought from the Hub, and its rows stayed where they were."
    return joined(["## Data", f"{kept}; {tokens}.", sources_table(sources) if sources else unknown])


def recipe(facts: Facts) -> str:
    """How it was trained: what was asked, and what happened."""
    asked = facts.train.recipe
    hidden = set(_LORA_ONLY) if facts.method == "full" else set()
    if not (asked.get("best") or asked.get("patience")):
        hidden |= {"best", "choose_every"}
    prepared = {name: facts.tokens.recipe[name] for name in _PREPARED if name in facts.tokens.recipe}
    shown = {name: value for name, value in asked.items() if value is not None and name not in hidden}
    rows = [[plain(_label(name)), _value(name, value)] for name, value in shown.items()]
    rows += [[f"data: {plain(_label(name))}", _value(name, value)] for name, value in prepared.items()]
    return joined(["## Recipe", table(["setting", "value"], rows), _circumstances(facts)])


def _label(name: str) -> str:
    return name.replace("_", " ")


def _value(name: str, value: Any) -> str:
    if name == "method":
        return _METHODS.get(value, plain(str(value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(code(str(item)) for item in value)
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def _circumstances(facts: Facts) -> str:
    env, metrics = facts.train_env, facts.train.metrics
    split = f"micro-batch {env['micro_batch']} × {env['accumulation']}" if "accumulation" in env else ""
    device = {"cpu": "a CPU"}.get(str(env.get("device_name")), str(env.get("device_name") or ""))
    circumstances = [
        f"on {plain(device)}" if device else "",
        f"in {code(str(env['dtype']))}" if "dtype" in env else "",
        f"with {code(str(env['optimizer']))}" if "optimizer" in env else "",
        split,
        "samples packed" if env.get("packing") else "samples not packed" if "packing" in env else "",
    ]
    done = [
        f"{metrics['steps']:,} steps" if "steps" in metrics else "",
        f"{metrics['epochs']:g} epochs" if metrics.get("epochs") else "",
        f"{metrics['tokens']:,} tokens" if metrics.get("tokens") else "",
        f"{metrics['tokens_per_second']:,.0f} tokens a second" if metrics.get("tokens_per_second") else "",
        f"{metrics['peak_memory_gib']:.2f} GiB of memory at most" if metrics.get("peak_memory_gib") else "",
    ]
    best = (
        f"The weights are those of step {metrics['best_step']}, of the lowest loss." if metrics.get("best_step") else ""
    )
    sentence = f"It ran {', '.join(filter(None, circumstances))}: {', '.join(filter(None, done))}." if any(done) else ""
    return " ".join(filter(None, [sentence, best]))


def curve(facts: Facts) -> str:
    """The picture, a file next to the card."""
    if not has_curve(facts):
        return ""
    return joined(["## Loss", f"![The loss of training and of the held-out rows, by step]({CURVE_FILE})"])


def has_curve(facts: Facts) -> bool:
    """Whether there is a curve to draw."""
    return len(facts.history.losses) > 1


def evaluation(facts: Facts) -> str:
    """The loss on held-out rows, before and after."""
    before, after = facts.train.metrics.get("base_eval_loss"), facts.train.metrics.get("eval_loss")
    if "eval_loss" not in facts.train.metrics:  # of a merged model that was brought from the Hub
        return ""
    if after is None:
        return "## Evaluation\n\nNo rows were held out, so nothing was measured but the training's own loss."
    start = "before this training" if "parent" in facts.train.parents else "base"
    rows = [
        ["loss, nats a token", _number(before), _number(after)],
        ["perplexity", _number(_exp(before)), _number(_exp(after))],
    ]
    held = facts.tokens.metrics.get("eval_rows", 0)
    text = f"On {held:,} held-out rows that training never saw; lower is better."
    note = "Measured in training, before the files here were made of it." if facts.kind != "adapter" else ""
    return joined(["## Evaluation", f"{text} {note}".strip(), table(["", start, "twin"], rows)])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _exp(loss: float | None) -> float | None:
    return math.exp(loss) if loss is not None and loss < 50 else None


def parity(facts: Facts) -> str:
    """How near the files come to what was trained; nothing for what was trained itself."""
    if facts.results[0].slot == facts.train.slot:
        return ""
    rows = [_parity_row(record) for record in facts.results]
    proven = [is_proven(record) for record in facts.results]
    text = (
        "Each file was asked the same as the trained model: KL is the mean divergence of its next-token distributions, "
        "in nats; “same first” is how often both find the same token most probable."
    )
    lacking = "What is not verified was not compared with the trained model: try it before you rely on it."
    remarks = [text if any(proven) else "", lacking if not all(proven) else ""]
    header = ["file", "size", "verified", "KL", "same first"]
    return joined(["## Parity with what was trained", " ".join(filter(None, remarks)), table(header, rows)])


def _parity_row(record: Record) -> list[str]:
    file = next((file.name for file in record.files if file.name.endswith(".gguf")), None)
    name = code(file) if file else "16-bit safetensors"
    proof: Any = record.metrics.get("proof")
    proof = proof if isinstance(proof, dict) else {}
    measured = proof.get("checks", {}).get("distributions") or proof  # among its checks, or at its top
    kl, top = measured.get("kl"), measured.get("top1")
    figures = [
        f"{kl:.2g}" if isinstance(kl, float | int) else "–",
        f"{top:.2%}" if isinstance(top, float | int) else "–",
    ]
    size = f"{record.size / 1e9:,.2f} GB" if record.size >= 1e8 else f"{record.size / 1e6:,.1f} MB"
    return [name, size, "yes" if is_proven(record) else "no", *figures]


def sample(facts: Facts) -> str:
    """One held-out prompt and the twin's answer."""
    shown = facts.history.sample
    if shown is None or facts.tokens.recipe.get("text_as") == "raw":  # there a prompt is the person's own writing
        return ""
    text = "A prompt that it was not trained on, and its most probable answer at the end of training:"
    return joined(
        [
            "## A sample",
            text,
            "**Prompt**",
            quote(shown.prompt, longest=300),
            "**Twin**",
            quote(shown.text, longest=600),
        ]
    )


def limits() -> str:
    """What a twin of a person is not."""
    return _LIMITS


_LIMITS = """## Limits, and the person behind it

It writes in somebody's manner; it is not that person, and nothing it says is theirs. It knows what its base knows,
makes things up with the same confidence, and may give opinions, memories or promises that the person never had. It may
also repeat passages of the writing that it was trained on.

- Say that a text is the twin's wherever others read it. Do not use it to deceive, to impersonate, to harass, or to
  speak for the person in anything that binds them.
- It was not tested for safety, and not for medical, legal or financial advice.
- Whoever publishes a twin answers for the consent of the person whose writing it learnt from, and takes it down when
  that is withdrawn. If it is yours and you did not agree, say so in this repository's discussions."""


def provenance(facts: Facts) -> str:
    """What it was made of and by, to be found again."""
    records = [*facts.results, *facts.line]
    rows = []
    for record in {record.fingerprint: record for record in records}.values():
        day = time.strftime("%Y-%m-%d", time.gmtime(record.created))
        rows.append([code(record.slot), code(record.fingerprint[:16]), code(record.digest[:16]), day])
    versions = facts.train_env.get("versions") or {}
    libraries = ", ".join(code(f"{name} {number}") for name, number in versions.items())
    text = "The fingerprint is of all that was asked for and of its inputs; the digest is of the result."
    base = f"Base: weights, configuration and tokenizer {code(facts.base.digest[:16])}."
    steps = table(["step", "fingerprint", "digest", "made"], rows)
    return joined(
        ["## Provenance", f"Made by twinctl. {text} {base}", steps, f"Trained with {libraries}." if libraries else ""]
    )
