"""The proof: a file is the model that was trained, or CheckFailed says which check failed and by how much.

What must stay true: each check compares with what the trained model does, and demands nothing that it does not do
itself; a report of a file that passed holds numbers alone, no one's writing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinctl.errors import CheckFailed
from twinctl.verification import limits
from twinctl.verification.divergence import DistributionMetrics, compare_answers, compare_distributions
from twinctl.verification.gguf_header import Header, rotary_distance
from twinctl.verification.isolated_process import Trained, ask_gguf, ask_merged
from twinctl.verification.model_dir import model_dir_problems
from twinctl.verification.reference import ModelOutput, Reference
from twinctl.workspace.files import append_line, write_json

ReportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckResult:
    """One thing that was looked at. `wrong`: what was found, in words; empty where it holds."""

    name: str
    wrong: str
    measured: dict[str, Any] = field(default_factory=dict)


def prove_merged(
    model: Path,
    reference: Path,
    kind: str = limits.MERGED,
    *,
    log: Path,
    trained: Trained | None = None,
    report: Path | None = None,
    progress: ReportProgress | None = None,
) -> dict[str, Any]:
    """Check a merged model's folder, of a `kind` in `limits.LIMITS`, against what the trained model said, which is in
    the folder `reference`, or is asked first and kept there where `trained` is given. The report, which is written to
    `report` if it passes.

    Raises CheckFailed with each check that failed; the report is in the `log` then.
    """
    began, name = time.monotonic(), "the merged model"
    if wrong := model_dir_problems(model, quantised=kind != limits.MERGED):
        raise _failure(name, kind, [CheckResult("files", "; ".join(wrong))])
    seen = ask_merged(model, reference, trained=trained, log=log, progress=progress)
    said = Reference.load(reference)
    checks = [CheckResult("files", ""), _tokens(said, seen), _stops(said, _in_folder(seen))]
    checks.append(_rotary(said, seen.facts["rotary"]))
    checks += _sayings(said, seen, kind)
    return _report(name, kind, checks, said, began, report, log)


def prove_gguf(
    file: Path,
    quant: str,
    reference: Path,
    *,
    log: Path,
    report: Path | None = None,
    progress: ReportProgress | None = None,
) -> dict[str, Any]:
    """Check a GGUF file of a quantisation in `limits.LIMITS` against the reference's; see `prove_merged`."""
    began, trained, header = time.monotonic(), Reference.load(reference), Header.read(file)
    seen = ask_gguf(file, reference, log=log, progress=progress)
    said = {"its metadata": [header.eos], "llama.cpp": seen.facts["stops"]}
    checks = [_tokens(trained, seen), _stops(trained, said), _rotary(trained, header.rotary)]
    checks += _sayings(trained, seen, quant)
    return _report(file.name, quant, checks, trained, began, report, log)


def _tokens(trained: Reference, seen: ModelOutput) -> CheckResult:
    """Every probe gives the tokenizer's ids."""
    triples = zip(trained.probes, trained.probe_ids, seen.probe_ids, strict=True)
    wrong = [(probe, wanted, found) for probe, wanted, found in triples if wanted != found]
    text = ""
    if wrong:
        probe, wanted, found = wrong[0]
        at = next((at for at, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), len(found))
        ids = f"{wanted[at : at + 4]} in training, {found[at : at + 4]} here"
        text = (
            f"{len(wrong)} of {len(trained.probes)} texts give other tokens, first {probe.text[:40]!r} at {at}: {ids}"
        )
    return CheckResult("tokens", text, {"probes": len(trained.probes), "different": len(wrong)})


def _in_folder(seen: ModelOutput) -> dict[str, list[Any]]:
    return {
        "the tokenizer": [seen.facts["tokenizer_eos"]],
        "config.json": seen.facts["config_stops"],
        "generation_config.json": seen.facts["stops"],
    }


def _stops(trained: Reference, said: dict[str, list[Any]]) -> CheckResult:
    """Each place names the stop token that was trained."""
    wrong = [f"{place} has {ids}" for place, ids in said.items() if trained.stop not in ids]
    text = f"the stop token is {trained.stop}, but {', '.join(wrong)}" if wrong else ""
    return CheckResult("stops", text, {"stop": trained.stop, **said})


def _rotary(trained: Reference, kinds: Sequence[Sequence[float]]) -> CheckResult:
    """Each of the trained model's ways to rotate positions is there; so also at lengths that were not asked."""
    if not kinds:
        return CheckResult("rotary", "", {"distance": None})
    distance = max((rotary_distance(kind, kinds) for kind in trained.rotary), default=0.0)
    text = f"its rotary frequencies are off by up to {distance:.3g} of theirs" if distance > limits.ROTARY else ""
    return CheckResult("rotary", text, {"distance": float(f"{distance:.3g}")})


def _sayings(trained: Reference, seen: ModelOutput, kind: str) -> list[CheckResult]:
    likeness = compare_distributions(trained, seen)
    manner = compare_answers(trained.answers, seen.answers)
    few = manner.ended < limits.ENDED_SHARE * manner.ending
    text = f"it ends {manner.ended} of the {manner.ending} answers that the trained model ends" if few else ""
    return [
        CheckResult("distributions", "; ".join(_excesses(likeness, kind)), likeness.shown()),
        CheckResult("adapter", _not_once(likeness)),
        CheckResult("answers", text, manner.shown()),
    ]


def _excesses(likeness: DistributionMetrics, kind: str) -> Iterable[str]:
    limit = limits.LIMITS[kind]
    if not likeness.kl <= limit.kl:  # so that no number is one too many
        yield f"the mean KL is {likeness.kl:.3g}, the limit for {kind} {limit.kl:g}"
    if not likeness.late <= limits.LATE_TIMES * limit.kl and likeness.late_positions >= limits.LATE_LEAST:
        yield f"the mean KL at late positions is {likeness.late:.3g}, the limit {limits.LATE_TIMES * limit.kl:g}"
    if likeness.agreed < limit.top1:
        yield f"the most probable token is the same in {likeness.agreed:.2%}, the limit for {kind} {limit.top1:.0%}"


def _not_once(likeness: DistributionMetrics) -> str:
    if likeness.moved is None or likeness.merged is None:
        return ""
    if likeness.moved < max(limits.MOVED_LEAST, likeness.kl / limits.NOISE):
        return ""
    if limits.MERGED_LEAST <= likeness.merged <= limits.MERGED_MOST:
        return ""
    return f"what was trained is in it {likeness.merged:.2f} times, not once"


def _report(
    name: str, kind: str, checks: list[CheckResult], trained: Reference, began: float, path: Path | None, log: Path
) -> dict[str, Any]:
    passed, limit = not any(check.wrong for check in checks), limits.LIMITS[kind]
    found = {
        "schema": 1,
        "file": name,
        "kind": kind,
        "passed": passed,
        "limits": {"kl": limit.kl, "top1": limit.top1},
        "checks": {check.name: check.measured for check in checks if check.measured},
        "reference": {"split": trained.split, "rows": len(trained.rows), **trained.facts},
        "seconds": round(time.monotonic() - began, 1),
    }
    if not passed:
        append_line(log, found)
        raise _failure(name, kind, checks)
    if path is not None:
        write_json(path, found)
    return found


def _failure(name: str, kind: str, checks: Sequence[CheckResult]) -> CheckFailed:
    wrong = {check.name: check.wrong for check in checks if check.wrong}
    mend, finer = "make it again: twinctl export --restart", limits.finer(kind)
    if finer and wrong.keys() <= {"distributions", "answers"}:
        mend += f"; should it stay so, this model does not bear {kind}: twinctl export {finer}"
    said = "; ".join(f"{check}: {text}" for check, text in wrong.items())
    return CheckFailed(f"{name} is not the model that was trained ({said})", mend)
