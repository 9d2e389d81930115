"""`import twinctl`: the phases as functions, with the commands' results, settings and errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import twinctl
from tests.support.stand_ins import FakeSpeaker
from twinctl.errors import ConfigError, UpstreamError, UsageError


@pytest.fixture
def events() -> list[twinctl.Event]:
    """What the callback was called with."""
    return []


@pytest.fixture
def project(home: Path, posts: Path, model: Path, fakes: None, events: list[twinctl.Event]) -> twinctl.Project:
    """A project with a prepared run."""
    opened = twinctl.open(progress=events.append)
    opened.prepare(preset="tiny", model=str(model), data=(str(posts),))
    return opened


def test_every_phase_gives_path_files_metrics_and_whether_it_was_cached(
    project: twinctl.Project, tmp_path: Path
) -> None:
    trained = project.train(rank=4)
    assert (trained.cached, trained.record.recipe["rank"], trained.metrics["steps"]) == (False, 4, 2)
    assert trained.path.is_dir() and all(path.is_file() for path in trained.files)
    assert project.train(rank=4).cached
    merged, file = project.export(precision=["16bit"], quant=["q8_0"], output=tmp_path / "away")
    assert [merged.record.produces, file.record.produces] == ["model", "gguf"]
    assert {path.name for path in (tmp_path / "away").iterdir()} >= {"model.safetensors", "tiny-q8_0.gguf"}
    assert list(project.results()) == ["prepare", "train", "merge", "gguf-q8_0"]
    assert (project.runs, project.run) == (["tiny"], "tiny")
    states = {each.slot: each.state for each in project.status(verify=True)["tiny"]}
    assert states == dict.fromkeys(project.results(), "complete")


def test_the_command_takes_what_the_api_made(project: twinctl.Project, cli: Callable[..., Any]) -> None:
    made = project.train(rank=4)
    document = cli("train", "--rank", "4", "--json").ok().document
    assert (document["cached"], document["fingerprint"]) == (True, made.record.fingerprint)


def test_events_are_typed_and_nothing_is_printed(
    project: twinctl.Project, events: list[twinctl.Event], capfd: pytest.CaptureFixture[str]
) -> None:
    project.train()
    steps = [event for event in events if event.kind == "step"]
    assert [(event.phase, event.whole("step"), event.values["loss"]) for event in steps] == [
        ("train", 1, 2.0),
        ("train", 2, 1.0),
    ]
    assert ("prepare", "packing") in [(event.phase, event.text) for event in events if event.kind == "stage"]
    assert ("train", "the fake trainer was used") in [(e.phase, e.text) for e in events if e.kind == "warning"]
    assert capfd.readouterr() == ("", "")


def test_errors_are_those_of_the_commands(home: Path, project: twinctl.Project) -> None:
    with pytest.raises(ConfigError, match="has no field “rnak”") as caught:
        project.train(rnak=4)
    assert caught.value.hint == "did you mean “rank”?"
    with pytest.raises(UpstreamError, match="has no adapter yet"):
        project.export()
    with pytest.raises(twinctl.TwinctlError, match="there is no run “other”"):
        project.use("other")
    with pytest.raises(UpstreamError, match="nothing is prepared"):
        twinctl.open(home / "elsewhere").train()


def test_a_chat_is_a_conversation_with_the_twin_or_the_base() -> None:
    base, twin = FakeSpeaker(["Hello."], name="base"), FakeSpeaker(["Good day.", "It rains.", "Anew."])
    with twinctl.Chat([base, twin], twinctl.api.Sampling()) as chat:
        assert chat.ask("Hi").text == "Good day."
        assert "".join(chat.stream("And the weather?")).strip() == "It rains."
        contents = [message["content"] for message in twin.history[1][0]]
        assert contents == ["Hi", "Good day.", "And the weather?"]
        chat.reset()
        chat.ask("Once more")
        assert [message["content"] for message in twin.history[2][0]] == ["Once more"]
        assert chat.ask("Hi", model="base").text == "Hello."
        with pytest.raises(UsageError, match="no model “other”"):
            chat.ask("Hi", model="other")
    assert base.closed and twin.closed


def test_an_error_while_an_answer_is_streamed_is_raised_where_it_is_read() -> None:
    chat = twinctl.Chat([FakeSpeaker([])], twinctl.api.Sampling())
    with pytest.raises(IndexError):
        next(chat.stream("Hi"))


def test_what_is_offered_is_there() -> None:
    assert set(twinctl.__all__) == set(twinctl.api.__all__)
    assert all(getattr(twinctl, name) is getattr(twinctl.api, name) for name in twinctl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        twinctl.train  # noqa: B018
