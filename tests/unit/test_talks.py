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
def bare_workspace(tmp_path: Path) -> Workspace:
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


def test_what_was_read_back_is_what_was_said(bare_workspace: Workspace) -> None:
    talk = spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a"), ("two", "b"))
    talk.undo()
    spoken(talk, ("three", "c"))
    talk.answer("base", said("beside"), HOW, beside=True)
    talk.answer("tiny", said("c again", seed=1), HOW)
    talk.edit("c, mended")
    read = transcripts.list_transcripts(bare_workspace, "tiny")[0]
    assert read.turns == talk.turns
    assert texts(read) == [("one", "a"), ("three", "c, mended")]
    assert [each.text for each in read.turns[1].beside] == ["beside"]
    assert read.speakers == ["tiny", "base"]
    talk.clear()
    assert transcripts.list_transcripts(bare_workspace, "tiny")[0].turns == []


def test_a_line_says_who_how_and_how_fast(bare_workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a")))
    asked, answered = (json.loads(line) for line in path.read_text().splitlines())
    assert (asked["role"], asked["text"]) == ("user", "one")
    assert {"time", "speaker", "text", "finish", "tokens", "seconds", "seed", "sampling"} <= answered.keys()
    assert answered["sampling"]["temperature"] == 0.5
    assert path.stat().st_mode & 0o777 == 0o600


def test_talks_are_numbered_and_two_at_once_never_share_a_file(bare_workspace: Workspace) -> None:
    first, second = transcripts.begin(bare_workspace, "tiny"), transcripts.begin(bare_workspace, "tiny")
    spoken(first, ("one", "a"))
    spoken(second, ("two", "b"))
    spoken(transcripts.begin(bare_workspace, "other"), ("three", "c"))
    assert [(talk.number, texts(talk)) for talk in transcripts.list_transcripts(bare_workspace, "tiny")] == [
        (1, [("one", "a")]), (2, [("two", "b")]),
    ]  # fmt: skip
    assert transcripts.begin(bare_workspace, "tiny").number == 3


def test_a_talk_that_says_nothing_has_no_file(bare_workspace: Workspace) -> None:
    transcripts.begin(bare_workspace, "tiny")
    assert transcripts.list_transcripts(bare_workspace, "tiny") == []


def test_resume_takes_the_last_or_the_named_one(bare_workspace: Workspace) -> None:
    for name in ("one", "two"):
        close(spoken(transcripts.begin(bare_workspace, "tiny"), (name, "a")))
    assert texts(transcripts.resume(bare_workspace, "tiny"))[0][0] == "two"
    talk = transcripts.resume(bare_workspace, "tiny", 1)
    close(spoken(talk, ("more", "b")))
    assert texts(transcripts.list_transcripts(bare_workspace, "tiny")[0]) == [("one", "a"), ("more", "b")]


def test_what_is_not_there_cannot_be_resumed(bare_workspace: Workspace) -> None:
    with pytest.raises(UpstreamError, match="has no conversation yet"):
        transcripts.resume(bare_workspace, "tiny")
    spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a"))
    with pytest.raises(UpstreamError, match="no conversation 7; conversations of run “tiny”: 1"):
        transcripts.resume(bare_workspace, "tiny", 7)
    assert not (transcripts.folder(bare_workspace, "tiny") / "7.jsonl").exists()


def test_what_goes_on_elsewhere_cannot_be_resumed(bare_workspace: Workspace) -> None:
    spoken(talk := transcripts.begin(bare_workspace, "tiny"), ("one", "a"))
    with pytest.raises(BusyError, match="conversation 1 of run “tiny” is open in another process"):
        transcripts.resume(bare_workspace, "tiny")
    close(talk)
    assert transcripts.resume(bare_workspace, "tiny").turns == talk.turns


def test_a_kill_at_any_byte_loses_at_most_the_last_line(bare_workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a"), ("zwölf", "b")))
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
        talk = transcripts.resume(bare_workspace, "tiny", 1)
        assert texts(talk) == expected[complete]
        close(spoken(talk, ("more", "c")))
        assert texts(transcripts.list_transcripts(bare_workspace, "tiny")[0]) == [*expected[complete], ("more", "c")]


def test_no_secret_is_kept(bare_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", 'hf_"secret')
    talk = transcripts.begin(bare_workspace, "tiny")
    talk.ask('I am hf_"secret', replace_system('hf_"secret'))
    talk.answer("tiny", said('You are hf_"secret'), HOW)
    path = close(talk)
    transcripts.append_check(bare_workspace, "tiny", {"text": 'hf_"secret'})
    for each in (path, path.with_name("checks.jsonl")):
        assert "secret" not in each.read_text()
    assert talk.turns[0].question == "I am <HF_TOKEN>"


def replace_system(text: str) -> Sampling:
    return HOW.model_copy(update={"system": text})


def test_rows_are_whole_answers_and_the_last_system_message(bare_workspace: Workspace) -> None:
    talk = spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a"))
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


def test_a_line_of_a_newer_version_is_passed_over(bare_workspace: Workspace) -> None:
    path = close(spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a")))
    with open(path, "a") as stream:
        stream.write('{"event": "starred", "text": "?"}\n["no", "object"]\n')
    assert texts(transcripts.list_transcripts(bare_workspace, "tiny")[0]) == [("one", "a")]


def test_a_folder_that_is_read_only_keeps_nothing_and_stops_nothing(bare_workspace: Workspace) -> None:
    (bare_workspace.root / "talks").write_text("in the way")
    talk = spoken(transcripts.begin(bare_workspace, "tiny"), ("one", "a"))
    assert texts(talk) == [("one", "a")]
    assert "Not a directory" in talk.fault


def test_check_results_are_kept_in_their_order(bare_workspace: Workspace) -> None:
    assert transcripts.checks(bare_workspace, "tiny") == []
    transcripts.append_check(bare_workspace, "tiny", {"passed": False})
    transcripts.append_check(bare_workspace, "tiny", {"passed": True})
    found = transcripts.checks(bare_workspace, "tiny")
    assert [result["passed"] for result in found] == [False, True]
    assert all(result["time"] > 0 for result in found)
    assert transcripts.list_transcripts(bare_workspace, "tiny") == []


# With the run


@pytest.fixture
def workspace_of_two(bare_workspace: Workspace) -> Workspace:
    for name in ("old", "other"):
        with bare_workspace.runs.change(name):
            pass
    return bare_workspace


def test_a_renamed_run_takes_its_talks_along_also_one_that_goes_on(workspace_of_two: Workspace) -> None:
    spoken(talk := transcripts.begin(workspace_of_two, "old"), ("one", "a"))
    transcripts.append_check(workspace_of_two, "old", {"passed": True})
    workspace_of_two.runs.rename("old", "new")
    spoken(talk, ("two", "b"))
    renamed = transcripts.list_transcripts(workspace_of_two, "new")
    assert [texts(transcript) for transcript in renamed] == [[("one", "a"), ("two", "b")]]
    assert len(transcripts.checks(workspace_of_two, "new")) == 1
    assert transcripts.list_transcripts(workspace_of_two, "old") == []


def test_a_removed_run_leaves_its_talks_and_who_takes_its_name_gets_them(workspace_of_two: Workspace) -> None:
    for name, count in (("other", 1), ("old", 11)):
        for number in range(count):
            close(spoken(transcripts.begin(workspace_of_two, name), (f"{name} {number + 1}", "a")))
        transcripts.append_check(workspace_of_two, name, {"of": name})
    workspace_of_two.runs.remove(["other"])
    assert len(transcripts.list_transcripts(workspace_of_two, "other")) == 1
    workspace_of_two.runs.rename("old", "other")
    first = [talk.turns[0].question for talk in transcripts.list_transcripts(workspace_of_two, "other")]
    assert first == ["other 1", *(f"old {number + 1}" for number in range(11))]
    assert [result["of"] for result in transcripts.checks(workspace_of_two, "other")] == ["other", "old"]
    assert not transcripts.folder(workspace_of_two, "old").exists()


def test_a_rename_that_was_killed_takes_the_rest_along(workspace_of_two: Workspace) -> None:
    close(spoken(transcripts.begin(workspace_of_two, "old"), ("one", "a")))
    with workspace_of_two.runs.change("old") as old:
        run = replace(old, name="new")
    with workspace_of_two.runs.change("new") as new:  # as it is when a rename was killed before it moved the talks
        new.created, new.pins = run.created, run.pins
    workspace_of_two.runs.rename("old", "new")
    assert len(transcripts.list_transcripts(workspace_of_two, "new")) == 1
