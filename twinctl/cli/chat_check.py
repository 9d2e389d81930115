"""`twinctl chat --check`: the test, shown as it goes, and its verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twinctl.chat.answer_stats import answer_stats
from twinctl.chat.batch import load_in_turn
from twinctl.chat.check import FAULTS, ChatCheck, CheckedAnswer, Evidence, as_checked, check
from twinctl.chat.model_files import evidence_files
from twinctl.chat.model_selection import ModelSelection, select_models
from twinctl.chat.transcripts import append_check
from twinctl.cli.batch_output import Shown, say_loading
from twinctl.cli.output import Output
from twinctl.cli.session import Session
from twinctl.config.sampling import Sampling
from twinctl.errors import CheckFailed, Interrupted
from twinctl.inference.chat_model import ChatModel
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.run import Run

TRY = "train longer (--epochs 6), or with more to learn with (--rank 64 or 128); and look at: twinctl inspect prepare"
MEASURES = {
    "words": "words an answer",
    "sentence": "words a sentence",
    "variety": "different words of 50",
    "pauses": "marks within sentences, per 100 words",
    "questions": "? and !, per 100 words",
    "distance": "distance from the author",
}


def judge(session: Session, run: Run, wanted: ModelSelection, sampling: Sampling) -> None:
    """Check every wanted model, the twin also against the base. Raises CheckFailed if one does not pass."""
    view = RunView(session.workspace, run)
    groups = select_models(view, replace(wanted, compare=wanted.compare or wanted.twin))
    session.output.say("reading the rows to compare with …")
    evidence = Evidence.read(*evidence_files(view, wanted.checkpoint))
    checks, base = [], None
    for model in load_in_turn(groups, before=lambda group: say_loading(session.output, group)):
        base = model if model.name == "base" else base
        if model is not base or wanted.base:
            checks.append(_judged(session, run, model, None if model is base else base, evidence, sampling))
    if session.output.json:
        _document(session.output, run, checks)
    if failed := [each for each in checks if each.failures]:
        message = "; ".join(f"{each.speaker}: {', '.join(each.failures)}" for each in failed)
        raise CheckFailed(f"the check failed: {message}", TRY)


def _judged(
    session: Session, run: Run, model: ChatModel, base: ChatModel | None, evidence: Evidence, sampling: Sampling
) -> ChatCheck:
    shown = CheckProgress(session.output, as_checked(sampling))
    result = check(model, base, evidence, sampling, ask=shown.ask, show=shown.piece, done=shown.done)
    if result.stopped:
        raise Interrupted("interrupted")
    try:
        append_check(session.workspace, run.name, result.document())
    except OSError as error:
        session.output.warn(f"the result is not kept: {error}")
    if not session.output.json:
        _tables(session.output, result)
    return result


class CheckProgress:
    """Prompts and answers, as they come; nothing with --json."""

    def __init__(self, output: Output, sampling: Sampling) -> None:
        self._output, self._shown = output, Shown(output, sampling, several=False)
        self._sampling = sampling

    def ask(self, prompt: str) -> None:
        """A prompt."""
        if not self._output.json:
            self._output.line(f"> {prompt}")

    def piece(self, text: str) -> None:
        """A piece of its answer."""
        if not self._output.json:
            self._shown.piece(text)

    def done(self, checked: CheckedAnswer) -> None:
        """What was seen in it."""
        if not self._output.json:
            print(flush=True)
            self._output.say(answer_stats(checked.answer, self._sampling))
            for fault in checked.faults:
                self._output.line(f"  ✗ {FAULTS[fault]}" + (f": “{checked.run}”" if fault == "copy" else ""))
            self._output.line("")


def _tables(output: Output, result: ChatCheck) -> None:
    total = len(result.answers)
    output.line(f"{result.speaker}: {total} answers, seed {result.sampling.seed}")
    longest = max((each.copied for each in result.answers), default=0)
    output.table(
        [
            *([f"  {text}", f"{result.counts[name]} of {total}"] for name, text in FAULTS.items()),
            ["  longest run from a training row", f"{longest} tokens; {result.copy_limit} would be a copy"],
        ]
    )
    styles = {name: style.rounded() for name, style in result.styles.items()}
    rows = []
    for name, text in MEASURES.items():
        values = [style[name] for style in styles.values()]
        rows.append([text, *("too short to say" if value is None else f"{value:.2f}" for value in values)])
    output.table(rows, header=["style", *styles])
    output.line("passed" if not result.failures else "failed: " + "; ".join(result.failures))


def _document(output: Output, run: Run, results: list[ChatCheck]) -> None:
    checks: list[dict[str, Any]] = [each.document() for each in results]
    output.document(
        {"command": "chat", "run": run.name, "passed": all(each["passed"] for each in checks), "checks": checks}
    )
