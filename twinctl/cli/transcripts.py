"""How transcripts and the results of checks are shown, for `twinctl inspect chat`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from twinctl.chat.screen import printable
from twinctl.chat.transcripts import Transcript, checks, list_transcripts
from twinctl.cli.session import Session
from twinctl.errors import UpstreamError
from twinctl.workspace.run import Run

# How an answer ended, as it is stored, in words.
ENDS = {"length": ", cut", "interrupted": ", stopped", "mended": ", edited"}


def show_chat(session: Session, run: Run, number: int | None) -> None:
    """The run's conversations, one of them in full (that number, or the last), and the results of its checks.

    Raises UpstreamError if there is no conversation of that number, or nothing at all.
    """
    transcripts, results = list_transcripts(session.workspace, run.name), checks(session.workspace, run.name)
    if not transcripts and not results:
        raise UpstreamError(f"run “{run.name}” has no conversation and no check yet", f"twinctl chat --run {run.name}")
    chosen = [transcript for transcript in transcripts if number in (None, transcript.number)]
    if number is not None and not chosen:
        known = ", ".join(str(transcript.number) for transcript in transcripts) or "none"
        raise UpstreamError(f"run “{run.name}” has no conversation {number}", f"there: {known}")
    if session.output.json:
        documents = [_document(transcript) for transcript in chosen]
        session.output.document({"command": "inspect", "run": run.name, "talks": documents, "checks": results})
        return
    _tables(session, transcripts, results)
    for transcript in chosen[-1:]:
        command = f"twinctl chat --run {run.name} --resume {transcript.number}"
        session.output.line(f"\nconversation {transcript.number}; to resume it: {command}")
        _show_turns(session, transcript)


def _tables(session: Session, transcripts: list[Transcript], results: list[dict[str, Any]]) -> None:
    if transcripts:
        header = ["conversation", "begun", "turns", "with", "first question"]
        session.output.table([_row(transcript) for transcript in transcripts], header=header)
    if results:
        session.output.line("\nchecks" if transcripts else "checks")
        rows = []
        for result in results:
            verdict = "passed" if result.get("passed") else "failed"
            about = "; ".join(map(str, result.get("failures", [])))
            rows.append(["  " + _when(result.get("time", 0)), str(result.get("speaker", "")), verdict, about])
        session.output.table(rows)


def _row(transcript: Transcript) -> list[str]:
    turns = transcript.turns
    first = turns[0] if turns else None
    question = " ".join(printable(first.question).split()) if first else "all taken back"
    short = question if len(question) <= 60 else f"{question[:59]}…"
    begun, models = _when(first.time if first else 0), ", ".join(transcript.speakers)
    return [str(transcript.number), begun, str(len(turns)), models, short]


def _show_turns(session: Session, transcript: Transcript) -> None:
    system = ""
    for turn in transcript.turns:
        if turn.system != system:
            session.output.line(f"\nsystem: {printable(turn.system) or 'none'}")
            system = turn.system
        session.output.line(f"\n> {printable(turn.question)}")
        for answer in (*turn.beside, *([turn.answer] if turn.answer else [])):
            ended = ENDS.get(answer.finish, "")
            head = f"{printable(answer.speaker)} ({answer.tokens} tokens, seed {answer.seed}{ended}):"
            session.output.line(f"{head}\n{printable(answer.text)}")


def _document(transcript: Transcript) -> dict[str, Any]:
    turns = [asdict(turn) for turn in transcript.turns]
    return {"talk": transcript.number, "path": str(transcript.path), "turns": turns}


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else "–"
