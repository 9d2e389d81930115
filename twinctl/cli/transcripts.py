"""How kept talks and check results are shown, for `twinctl inspect chat`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from twinctl.chat.screen import printable
from twinctl.chat.transcripts import StoredAnswer, Transcript, checks, list_transcripts
from twinctl.cli.session import Session
from twinctl.errors import UpstreamError
from twinctl.workspace.run import Run


def show_chat(session: Session, run: Run, number: int | None) -> None:
    """The run's talks, one of them in full (that number, or the last), and what its checks found.

    Raises UpstreamError when there is no such talk, or nothing at all.
    """
    talks, found = list_transcripts(session.workspace, run.name), checks(session.workspace, run.name)
    if not talks and not found:
        raise UpstreamError(f"run “{run.name}” has no talk and no check yet", f"twinctl chat --run {run.name}")
    chosen = [talk for talk in talks if number in (None, talk.number)]
    if number is not None and not chosen:
        there = ", ".join(str(talk.number) for talk in talks)
        raise UpstreamError(f"run “{run.name}” has no talk {number}", f"there: {there or 'none'}")
    if session.output.json:
        talked = [_as_json(talk) for talk in chosen]
        session.output.document({"command": "inspect", "run": run.name, "talks": talked, "checks": found})
        return
    _tables(session, talks, found)
    for talk in chosen[-1:]:
        session.output.line(
            f"\ntalk {talk.number}, to go on with: twinctl chat --run {run.name} --resume {talk.number}"
        )
        _transcript(session, talk)


def _tables(session: Session, talks: list[Transcript], found: list[dict[str, Any]]) -> None:
    if talks:
        header = ["talk", "begun", "turns", "with", "first question"]
        session.output.table([_row(talk) for talk in talks], header=header)
    if found:
        session.output.line("\nchecks" if talks else "checks")
        session.output.table([_check(result) for result in found])


def _row(talk: Transcript) -> list[str]:
    first = talk.turns[0] if talk.turns else None
    question = " ".join(printable(first.question).split()) if first else "all taken back"
    short = question if len(question) <= 60 else f"{question[:59]}…"
    return [str(talk.number), _when(first.time if first else 0), str(len(talk.turns)), ", ".join(talk.speakers), short]


def _check(result: dict[str, Any]) -> list[str]:
    verdict = "passed" if result.get("passed") else "failed"
    about = "; ".join(map(str, result.get("failures", [])))
    return ["  " + _when(result.get("time", 0)), str(result.get("speaker", "")), verdict, about]


def _transcript(session: Session, talk: Transcript) -> None:
    system = ""
    for turn in talk.turns:
        if turn.system != system:
            session.output.line(f"\nsystem: {printable(turn.system) or 'none'}")
            system = turn.system
        session.output.line(f"\n> {printable(turn.question)}")
        for said in (*turn.beside, *([turn.answer] if turn.answer else [])):
            session.output.line(f"{_head(said)}\n{printable(said.text)}")


def _head(said: StoredAnswer) -> str:
    ended = {"stop": "", "length": ", cut", "interrupted": ", stopped", "mended": ", edited"}.get(said.finish, "")
    return f"{printable(said.speaker)} ({said.tokens} tokens, seed {said.seed}{ended}):"


def _as_json(talk: Transcript) -> dict[str, Any]:
    return {"talk": talk.number, "path": str(talk.path), "turns": [asdict(turn) for turn in talk.turns]}


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else "–"
