"""The proof: a file is the model that was trained, or CheckFailed says which check failed and by how much.

What must stay true: each check compares with what the trained model does, and demands nothing that the trained model
does not do itself; the report of a file that passed holds numbers alone, nobody's writing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinctl.errors import CheckFailed
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import ReportProgress
from twinctl.verification import limits
from twinctl.verification.divergence import (
    DistributionMetrics,
    GenerationMetrics,
    compare_answers,
    compare_distributions,
)
from twinctl.verification.gguf_header import Header, rotary_distance
from twinctl.verification.isolated_process import ask_gguf, ask_merged
from twinctl.verification.model_dir import model_dir_problems
from twinctl.verification.reference import ModelOutput, Reference
from twinctl.workspace.files import append_line, write_json


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `problem` says what is wrong; it is empty if the check passed."""

    name: str
    problem: str
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VerificationReport:
    """What the checks measured of one file of a `kind` in `limits.LIMITS`, compared with `trained`."""

    file: str
    kind: str
    checks: Sequence[CheckResult]
    trained: Reference
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no check found a problem."""
        return not any(check.problem for check in self.checks)

    def summary(self) -> dict[str, Any]:
        """The figures for the record: KL in nats, share of equal most probable tokens, and number of positions."""
        measured = next(check.measured for check in self.checks if check.name == "distributions")
        return {name: measured[name] for name in ("kl", "top1", "positions")}

    def document(self) -> dict[str, Any]:
        """The JSON document of the report."""
        limit = limits.LIMITS[self.kind]
        return {
            "schema": 1,
            "file": self.file,
            "kind": self.kind,
            "passed": self.passed,
            "limits": {"kl": limit.kl, "top1": limit.top1},
            "checks": {check.name: check.measured for check in self.checks if check.measured},
            "reference": {"split": self.trained.split, "rows": len(self.trained.rows), **self.trained.facts},
            "seconds": self.seconds,
        }


def prove_merged(
    model: Path,
    reference: Path,
    kind: str = limits.MERGED,
    *,
    log: Path,
    trained: TrainedModel | None = None,
    report: Path | None = None,
    progress: ReportProgress | None = None,
) -> VerificationReport:
    """Check a merged model's folder, of a `kind` in `limits.LIMITS`, against the output of the trained model.

    That output is in the folder `reference`; with `trained`, it is first computed and stored there. The report is
    written to `report` if it passes. Raises CheckFailed with each check that failed; the report is then in the `log`.
    """
    began, name = time.monotonic(), "the merged model"
    if problems := model_dir_problems(model, quantised=kind != limits.MERGED):
        raise _failure(name, kind, [CheckResult("files", "; ".join(problems))])
    output = ask_merged(model, reference, trained=trained, log=log, progress=progress)
    expected = Reference.load(reference)
    checks = [CheckResult("files", ""), *_checks(expected, output, output.stop_ids, output.rotary, kind)]
    return _finish(VerificationReport(name, kind, checks, expected, _seconds_since(began)), report, log)


def prove_gguf(
    file: Path,
    quant: str,
    reference: Path,
    *,
    log: Path,
    report: Path | None = None,
    progress: ReportProgress | None = None,
) -> VerificationReport:
    """Check a GGUF file of a quantisation in `limits.LIMITS` against the output of the trained model in `reference`.

    The report is written to `report` if it passes. Raises CheckFailed as `prove_merged` does.
    """
    began, expected, header = time.monotonic(), Reference.load(reference), Header.read(file)
    output = ask_gguf(file, reference, log=log, progress=progress)
    stop_ids = {"its metadata": [header.eos], **output.stop_ids}
    checks = _checks(expected, output, stop_ids, header.rotary, quant)
    return _finish(VerificationReport(file.name, quant, checks, expected, _seconds_since(began)), report, log)


def _seconds_since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def _checks(
    trained: Reference,
    output: ModelOutput,
    stop_ids: Mapping[str, Sequence[int | None]],
    rotary: Sequence[Sequence[float]],
    kind: str,
) -> list[CheckResult]:
    distributions = compare_distributions(trained, output)
    answers = compare_answers(trained.answers, output.answers)
    return [
        _check_tokens(trained, output),
        _check_stops(trained, stop_ids),
        _check_rotary(trained, rotary),
        CheckResult("distributions", "; ".join(_divergence_problems(distributions, kind)), distributions.rounded()),
        CheckResult("adapter", _adapter_problem(distributions)),
        CheckResult("answers", _answer_problem(answers), answers.rounded()),
    ]


def _check_tokens(trained: Reference, output: ModelOutput) -> CheckResult:
    """Every probe gives the ids of the trained model's tokenizer."""
    triples = zip(trained.probes, trained.probe_ids, output.probe_ids, strict=True)
    different = [triple for triple in triples if triple[1] != triple[2]]
    problem = ""
    if different:
        probe, wanted, given = different[0]
        at = next((at for at, pair in enumerate(zip(wanted, given, strict=False)) if pair[0] != pair[1]), len(given))
        problem = (
            f"{len(different)} of {len(trained.probes)} texts give other tokens, first {probe.text[:40]!r} at {at}: "
            f"{wanted[at : at + 4]} in training, {given[at : at + 4]} here"
        )
    return CheckResult("tokens", problem, {"probes": len(trained.probes), "different": len(different)})


def _check_stops(trained: Reference, stop_ids: Mapping[str, Sequence[int | None]]) -> CheckResult:
    """The stop token of the training is among the ids that each source names."""
    wrong = [f"{source} has {list(ids)}" for source, ids in stop_ids.items() if trained.stop not in ids]
    problem = f"the stop token is {trained.stop}, but {', '.join(wrong)}" if wrong else ""
    return CheckResult("stops", problem, {"stop": trained.stop, **stop_ids})


def _check_rotary(trained: Reference, rotary: Sequence[Sequence[float]]) -> CheckResult:
    """The rotary frequencies are the trained model's, which also holds at lengths that were not tried."""
    if not rotary:
        return CheckResult("rotary", "", {"distance": None})
    distance = max((rotary_distance(kind, rotary) for kind in trained.rotary), default=0.0)
    is_off = distance > limits.ROTARY
    problem = f"its rotary frequencies are off by up to {distance:.3g} of theirs" if is_off else ""
    return CheckResult("rotary", problem, {"distance": float(f"{distance:.3g}")})


def _divergence_problems(metrics: DistributionMetrics, kind: str) -> list[str]:
    """Which limits of this kind of file are exceeded. Not-a-number exceeds every limit."""
    limit = limits.LIMITS[kind]
    late_limit = limits.LATE_TIMES * limit.kl
    problems = []
    if not metrics.kl <= limit.kl:
        problems.append(f"the mean KL is {metrics.kl:.3g}, the limit for {kind} {limit.kl:g}")
    if metrics.late_positions >= limits.LATE_LEAST and not metrics.late <= late_limit:
        problems.append(f"the mean KL at late positions is {metrics.late:.3g}, the limit {late_limit:g}")
    if metrics.agreed < limit.top1:
        problems.append(
            f"the most probable token is the same in {metrics.agreed:.2%}, the limit for {kind} {limit.top1:.0%}"
        )
    return problems


def _adapter_problem(metrics: DistributionMetrics) -> str:
    """What is wrong with how often the adapter was merged; nothing where the training changed too little to tell."""
    if metrics.moved is None or metrics.merged is None:
        return ""
    can_be_measured = metrics.moved >= max(limits.MOVED_LEAST, metrics.kl / limits.NOISE)
    is_once = limits.MERGED_LEAST <= metrics.merged <= limits.MERGED_MOST
    return f"what was trained is in it {metrics.merged:.2f} times, not once" if can_be_measured and not is_once else ""


def _answer_problem(metrics: GenerationMetrics) -> str:
    if metrics.ended >= limits.ENDED_SHARE * metrics.ending:
        return ""
    return f"it ends {metrics.ended} of the {metrics.ending} answers that the trained model ends"


def _finish(report: VerificationReport, path: Path | None, log: Path) -> VerificationReport:
    """Write the report: to `path` if it passed, else to the log. Raises CheckFailed if it did not pass."""
    if not report.passed:
        append_line(log, report.document())
        raise _failure(report.file, report.kind, report.checks)
    if path is not None:
        write_json(path, report.document())
    return report


def _failure(name: str, kind: str, checks: Sequence[CheckResult]) -> CheckFailed:
    problems = {check.name: check.problem for check in checks if check.problem}
    hint, finer = "make it again: twinctl export --restart", limits.finer(kind)
    if finer and problems.keys() <= {"distributions", "answers"}:
        hint += f"; should it stay so, this model does not bear {kind}: twinctl export {finer}"
    details = "; ".join(f"{check}: {problem}" for check, problem in problems.items())
    return CheckFailed(f"{name} is not the model that was trained ({details})", hint)
