"""Talks on disk: what their lines say is the talk, whatever happens to the process that writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twinctl.chat import transcripts
from twinctl.chat.transcripts import Transcript
from twinctl.config.sampling import Sampling
from twinctl.errors import BusyError, UpstreamError
from twinctl.inference.chat_model import Answer
from twinctl.workspace.workspace import Workspace

HOW = Sampling(temperature=0.5)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def said(text: str, **more: Any) -> Answer:
    return Answer(text, tokens=2, finish=more.pop("finish", "stop"), seconds=0.5, **more)


def spoken(talk: Transcript, *pairs: tuple[str, str]) -> Transcript:
    for question, answer in pairs:
        talk.ask(question, HOW)
        talk.answer("tiny", said(answer), HOW)
    return talk


def texts(talk: Transcript) -> list[tuple[str, str | None]]:
    return [(turn.question, turn.answer.text if turn.answer else None) for turn in talk.turns]


def close(talk: Transcript) -> Path:
    assert talk.path and talk._stream
    talk._stream.close()
    return talk.path


def test_what_was_read_back_is_what_was_said(workspace: Workspace) -> None:
    talk = spoken(transcripts.begin(workspace, "tiny"), ("one", "a"), ("two", "b"))
    talk.undo()
    spoken(talk, ("three", "c"))
    talk.answer("base", said("beside"), HOW, beside=True)
    talk.answer("tiny", said("c again", seed=1), HOW)
    talk.edit("c, mended")
    read = transcripts.list_transcripts(workspace, "tiny")[0]
    assert read.turns == talk.turns
    assert texts(read) == [("one", "a"), ("three", "c, mended")]
    assert [each.text for each in read.turns[1].beside] == ["beside"]
    assert read.speakers == ["tiny", "base"]
    talk.clear()
    assert transcripts.list_transcripts(workspace, "tiny")[0].turns == []


def test_a_line_says_who_how_and_how_fast(workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(workspace, "tiny"), ("one", "a")))
    asked, answered = (json.loads(line) for line in path.read_text().splitlines())
    assert (asked["role"], asked["text"]) == ("user", "one")
    assert {"time", "speaker", "text", "finish", "tokens", "seconds", "seed", "sampling"} <= answered.keys()
    assert answered["sampling"]["temperature"] == 0.5
    assert path.stat().st_mode & 0o777 == 0o600


def test_talks_are_numbered_and_two_at_once_never_share_a_file(workspace: Workspace) -> None:
    first, second = transcripts.begin(workspace, "tiny"), transcripts.begin(workspace, "tiny")
    spoken(first, ("one", "a"))
    spoken(second, ("two", "b"))
    spoken(transcripts.begin(workspace, "other"), ("three", "c"))
    assert [(talk.number, texts(talk)) for talk in transcripts.list_transcripts(workspace, "tiny")] == [
        (1, [("one", "a")]), (2, [("two", "b")]),
    ]  # fmt: skip
    assert transcripts.begin(workspace, "tiny").number == 3


def test_a_talk_that_says_nothing_has_no_file(workspace: Workspace) -> None:
    transcripts.begin(workspace, "tiny")
    assert transcripts.list_transcripts(workspace, "tiny") == []


def test_resume_takes_the_last_or_the_named_one(workspace: Workspace) -> None:
    for name in ("one", "two"):
        close(spoken(transcripts.begin(workspace, "tiny"), (name, "a")))
    assert texts(transcripts.resume(workspace, "tiny"))[0][0] == "two"
    talk = transcripts.resume(workspace, "tiny", 1)
    close(spoken(talk, ("more", "b")))
    assert texts(transcripts.list_transcripts(workspace, "tiny")[0]) == [("one", "a"), ("more", "b")]


def test_what_is_not_there_cannot_be_resumed(workspace: Workspace) -> None:
    with pytest.raises(UpstreamError, match="has no conversation yet"):
        transcripts.resume(workspace, "tiny")
    spoken(transcripts.begin(workspace, "tiny"), ("one", "a"))
    with pytest.raises(UpstreamError, match="no conversation 7; conversations of run “tiny”: 1"):
        transcripts.resume(workspace, "tiny", 7)
    assert not (transcripts.folder(workspace, "tiny") / "7.jsonl").exists()


def test_what_goes_on_elsewhere_cannot_be_resumed(workspace: Workspace) -> None:
    spoken(talk := transcripts.begin(workspace, "tiny"), ("one", "a"))
    with pytest.raises(BusyError, match="conversation 1 of run “tiny” is open in another process"):
        transcripts.resume(workspace, "tiny")
    close(talk)
    assert transcripts.resume(workspace, "tiny").turns == talk.turns


def test_a_kill_at_any_byte_loses_at_most_the_last_line(workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(workspace, "tiny"), ("one", "a"), ("zwölf", "b")))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        complete = sum(len(b"".join(lines[: n + 1])) - 1 <= end for n in range(len(lines)))
        expected = [
            [],
            [("one", None)],
            [("one", "a")],
            [("one", "a"), ("zwölf", None)],
            [("one", "a"), ("zwölf", "b")],
        ]
        talk = transcripts.resume(workspace, "tiny", 1)
        assert texts(talk) == expected[complete]
        close(spoken(talk, ("more", "c")))
        assert texts(transcripts.list_transcripts(workspace, "tiny")[0]) == [*expected[complete], ("more", "c")]


def test_no_secret_is_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", 'hf_"secret')
    talk = transcripts.begin(workspace, "tiny")
    talk.ask('I am hf_"secret', replace_system('hf_"secret'))
    talk.answer("tiny", said('You are hf_"secret'), HOW)
    path = close(talk)
    transcripts.append_check(workspace, "tiny", {"text": 'hf_"secret'})
    for each in (path, path.with_name("checks.jsonl")):
        assert "secret" not in each.read_text()
    assert talk.turns[0].question == "I am <HF_TOKEN>"


def replace_system(text: str) -> Sampling:
    return HOW.model_copy(update={"system": text})


def test_rows_are_whole_answers_and_the_last_system_message(workspace: Workspace) -> None:
    talk = spoken(transcripts.begin(workspace, "tiny"), ("one", "a"))
    talk.ask("two", replace_system("Be kind."))
    talk.answer("tiny", said("cut", finish="length"), HOW)
    assert talk.rows() == ([{"messages": _pair("one", "a"), "talk": "tiny/1"}], 1)
    talk.edit("whole")
    system = {"role": "system", "content": "Be kind."}
    assert talk.rows() == ([{"messages": [system, *_pair("one", "a"), *_pair("two", "whole")], "talk": "tiny/1"}], 0)
    rows, _ = talk.rows(each_turn=True)
    assert [row["messages"] for row in rows] == [_pair("one", "a"), [system, *_pair("two", "whole")]]
    assert Transcript().rows() == ([], 0)


def _pair(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_a_line_of_a_newer_version_is_passed_over(workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(workspace, "tiny"), ("one", "a")))
    with open(path, "a") as stream:
        stream.write('{"event": "starred", "text": "?"}\n["no", "object"]\n')
    assert texts(transcripts.list_transcripts(workspace, "tiny")[0]) == [("one", "a")]


def test_a_folder_that_is_read_only_keeps_nothing_and_stops_nothing(workspace: Workspace) -> None:
    (workspace.root / "talks").write_text("in the way")
    talk = spoken(transcripts.begin(workspace, "tiny"), ("one", "a"))
    assert texts(talk) == [("one", "a")]
    assert "Not a directory" in talk.fault


def test_check_results_are_kept_in_their_order(workspace: Workspace) -> None:
    assert transcripts.checks(workspace, "tiny") == []
    transcripts.append_check(workspace, "tiny", {"passed": False})
    transcripts.append_check(workspace, "tiny", {"passed": True})
    found = transcripts.checks(workspace, "tiny")
    assert [result["passed"] for result in found] == [False, True]
    assert all(result["time"] > 0 for result in found)
    assert transcripts.list_transcripts(workspace, "tiny") == []


# With the run


@pytest.fixture
def runs(workspace: Workspace) -> Workspace:
    for name in ("old", "other"):
        with workspace.runs.change(name):
            pass
    return workspace


def test_a_renamed_run_takes_its_talks_along_also_one_that_goes_on(runs: Workspace) -> None:
    spoken(talk := transcripts.begin(runs, "old"), ("one", "a"))
    transcripts.append_check(runs, "old", {"passed": True})
    runs.runs.rename("old", "new")
    spoken(talk, ("two", "b"))
    assert [texts(each) for each in transcripts.list_transcripts(runs, "new")] == [[("one", "a"), ("two", "b")]]
    assert len(transcripts.checks(runs, "new")) == 1
    assert transcripts.list_transcripts(runs, "old") == []


def test_a_removed_run_leaves_its_talks_and_who_takes_its_name_gets_them(runs: Workspace) -> None:
    for name, count in (("other", 1), ("old", 11)):
        for number in range(count):
            close(spoken(transcripts.begin(runs, name), (f"{name} {number + 1}", "a")))
        transcripts.append_check(runs, name, {"of": name})
    runs.runs.remove(["other"])
    assert len(transcripts.list_transcripts(runs, "other")) == 1
    runs.runs.rename("old", "other")
    first = [talk.turns[0].question for talk in transcripts.list_transcripts(runs, "other")]
    assert first == ["other 1", *(f"old {number + 1}" for number in range(11))]
    assert [result["of"] for result in transcripts.checks(runs, "other")] == ["other", "old"]
    assert not transcripts.folder(runs, "old").exists()


def test_a_rename_that_was_killed_takes_the_rest_along(runs: Workspace) -> None:
    close(spoken(transcripts.begin(runs, "old"), ("one", "a")))
    with runs.runs.change("old") as old:
        run = replace(old, name="new")
    with runs.runs.change("new") as new:  # as it is when a rename was killed before it moved the talks
        new.created, new.pins = run.created, run.pins
    runs.runs.rename("old", "new")
    assert len(transcripts.list_transcripts(runs, "new")) == 1
