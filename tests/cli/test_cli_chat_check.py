"""chat --check: a good twin passes; each planted fault is seen, named and exit 8; the result is kept under the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import fake_train, write_rows
from twinctl.chat import transcripts
from twinctl.chat.check import PROMPTS
from twinctl.chat.model_selection import ModelGroup
from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.inference.chat_model import Answer, Show
from twinctl.phases import train
from twinctl.workspace.workspace import Workspace

GOOD = "I keep a boat for number {n}, and on calm days I row it out past the buoy; nobody asks why."
TRAINED = " ".join(f"w{number}" for number in range(22))


@dataclass
class Scripted:
    """Answers each prompt by a function of its number."""

    says: Callable[[int], Answer]
    name: str = "tiny"
    context: int = 4096
    is_single_turn: bool = False
    asked: list[str] = field(default_factory=list)

    def count(self, messages: list[Message]) -> int:
        return 1

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        self.asked.append(messages[-1]["content"])
        answer = self.says(len(self.asked))
        show(answer.text)
        return answer

    def answers(self, talks: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        return [self.answer(talk, sampling, lambda piece: None) for talk in talks]

    def close(self) -> None: ...


def good(number: int) -> Answer:
    return said(GOOD.format(n=number))


def said(text: str, **about: Any) -> Answer:
    return replace(Answer(text, tokens=len(text.split()), finish="stop", seconds=1.0), **about)


Check = Callable[..., Any]


@pytest.fixture
def check(cli: Cli, home: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """`chat --check` of a twin that says this, on the third prompt and by default well elsewhere."""
    texts = [f"I keep {n} boats, and number {n} leaks; I row it all the same, past buoy {n}." for n in range(80)]
    texts[8] = f"Number 8 is a boat. {TRAINED}"  # not one that is held out
    write_rows(
        home / "posts.jsonl",
        [{"instruction": f"What is number {number}?", "output": text} for number, text in enumerate(texts)],
    )
    cli("prepare", "--preset", "tiny", "--model", model, "-d", "posts.jsonl").ok()
    cli("train").ok()

    def run(third: Answer | None = None, *words: str, every: Callable[[int], Answer] = good) -> Any:
        twin = Scripted(lambda number: third if third and number == 3 else every(number))
        voices = [ModelGroup(("base", "tiny"), lambda: [Scripted(good, "base"), twin])]
        monkeypatch.setattr("twinctl.cli.chat_check.select_models", lambda *_: voices)
        return cli("chat", "--check", *words), twin

    return run


@pytest.fixture(autouse=True)
def trains_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "PHASE", replace(train.PHASE, run=fake_train, in_worker=False))


def test_a_good_twin_passes_and_the_result_is_kept(check: Check, home: Path) -> None:
    done, twin = check(None, "--json")
    document = done.ok().document
    assert document["passed"]
    (found,) = document["checks"]
    assert found["failures"] == []
    assert set(found["faults"].values()) == {0}
    assert twin.asked[: len(PROMPTS)] == list(PROMPTS)
    assert twin.asked[0] == "Write a paragraph to introduce supervised fine-tuning."
    assert all(question.startswith("What is number") for question in twin.asked[len(PROMPTS) :])
    assert found["sampling"]["max_new_tokens"] == 256
    (kept,) = transcripts.checks(Workspace(home / ".twinctl"), "tiny")
    assert {name: kept[name] for name in found} == found


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("empty", said(" \n")),
        ("special", said("Well <|eot_id|> then.")),
        ("special", said("Well then.", specials=1)),
        ("template", said("Well.\n\n### Response:\nWell.")),
        ("loop", said("It is what it is. " * 9)),
        ("copy", said(f"As I say: {TRAINED}")),
    ],
)
def test_a_planted_fault_is_seen_and_fails(check: Check, fault: str, answer: Answer) -> None:
    done, _ = check(answer, "--json")
    assert done.code == 8
    document, _, error = done.out.partition("\n}\n")
    (found,) = json.loads(document + "}")["checks"]
    assert found["faults"] == {**dict.fromkeys(found["faults"], 0), fault: 1}
    assert json.loads(error)["error"]["code"] == "CheckFailed"


def test_one_long_answer_may_be_cut_but_not_most(check: Check) -> None:
    assert check(said("and so on", finish="length"))[0].code == 0
    done, _ = check(every=lambda number: said(f"and so on {number}", finish="length"))
    assert done.code == 8
    assert "did not end by its own stop token  " in done.out
    assert "--epochs" in done.err and "--rank 64 or 128" in done.err


def test_it_is_streamed_with_a_table(check: Check) -> None:
    done, _ = check()
    assert "> Write a paragraph to introduce supervised fine-tuning.\nI keep a boat for number 1," in done.out
    assert "tiny: " in done.out and "distance from the author" in done.out
    assert done.out.rstrip().endswith("passed")


def test_ctrl_c_ends_it_and_keeps_no_verdict(check: Check, home: Path) -> None:
    done, _ = check(said("and", finish="interrupted"))
    assert done.code == 130
    assert transcripts.checks(Workspace(home / ".twinctl"), "tiny") == []
