"""The display of a training: right figures, a frame that fits, a terminal left as it was found."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest
from rich.cells import cell_len
from rich.console import Console

from twinctl.cli.curve import bar, draw_curve
from twinctl.cli.dashboard import Frame, span
from twinctl.cli.output import Output
from twinctl.cli.training_progress import Training
from twinctl.cli.watch import Viewer, event_text
from twinctl.pipeline.event import Event, one_line
from twinctl.pipeline.loss_curve import smoothed

Stored = dict[str, Any]  # a line of events.jsonl
TEXTS = [
    ("plain", "An answer of some length. " * 20, "length"),
    ("日本語のプロンプト", "日本語のテキストも混ざっています。" * 10, "stop"),
    ("ما رأيك؟", "الكتابة هي الطريقة التي أفكر بها", "stop"),
    ("[red]markup[/red] \x1b[31mred", "\x07bell\nline \u202eturned 👩‍💻", "stop"),
]


def step(number: int, *, steps: int = 100, seconds: float | None = None, **more: Any) -> Stored:
    """A step as the trainer tells it; without `seconds`, each takes two."""
    seconds = 2.0 * number if seconds is None else seconds
    figures = {"loss": 3 - number / steps, "learning_rate": 2e-5, "epoch": number / steps, "grad_norm": 0.5}
    return {
        "event": "step", "step": number, "steps": steps, "tokens": 1000 * number, "seconds": seconds, **figures,
        "memory_gib": 31.84, "gpu_use": 97, **more,
    }  # fmt: skip


def samples(number: int) -> Stored:
    answers = [{"prompt": prompt, "text": text, "finish": finish} for prompt, text, finish in TEXTS]
    return {"event": "samples", "step": number, "seconds": 3.0, "answers": answers}


def history(last: int = 60) -> list[Stored]:
    """All kinds of events up to a step."""
    facts = {"device_name": "NVIDIA H200", "dtype": "bfloat16", "micro_batch": 4, "accumulation": 2}
    return [
        {"event": "attempt", "attempt": 1},
        {"event": "stage", "text": "loading the model"},
        {"event": "facts", **facts},
        {"event": "evaluation", "step": 0, "eval_loss": 3.5, "seconds": 5.0},
        {"event": "begin", "step": 0, "steps": 100},
        *(step(number) for number in range(1, last + 1)),
        {"event": "evaluation", "step": last, "eval_loss": 2.5, "seconds": 5.0},
        samples(last),
        {"event": "checkpoint", "step": last},
        {"event": "warning", "text": "mind [the] gap"},
        {"event": "retry", "text": "out of memory: micro-batch 4 → 2, from step 50"},
    ]


def told(events: list[Stored]) -> Training:
    training = Training()
    for event in events:
        training.handle(Event.of(event), 0.0)
    return training


def frame(training: Training, width: int = 80, height: int = 24, *, plain: bool = False) -> list[str]:
    return [line.plain for line in Frame("train", training).lines(width, height, plain=plain, now=0.0)]


# The figures


def test_a_training_that_goes_on_counts_every_step_once() -> None:
    again = [{"event": "attempt", "attempt": 2}, {"event": "begin", "step": 50, "steps": 100}]
    slow = [step(number, seconds=100 + 30 + 4 * (number - 51)) for number in range(51, 71)]
    training = told([*history(60), *again, *slow])
    assert [point.step for point in training.points] == list(range(1, 71))
    assert sorted(training.evaluations) == [0]  # that of step 60 is to be done again
    assert training.checkpoint is None
    assert training.overall() == pytest.approx(70_000 / 206)
    # The first step of the attempt took 30 seconds; the pace is that of the others.
    last = told([*history(60), *again, *slow, step(71, seconds=210.0), step(72, seconds=214.0)])
    assert last.pace() == pytest.approx((4.0, 250.0))
    assert last.left(0.0) == pytest.approx(28 * 4)


def test_from_the_middle_on_the_time_left_is_right_too() -> None:
    training = told([{"event": "begin", "step": 50, "steps": 100}, step(51)])
    assert training.left(0.0) == pytest.approx(49 * 2)
    training.handle(Event.of(step(52)), 0.0)
    training.handle(Event.of(step(53)), 0.0)
    assert training.left(0.0) == pytest.approx(47 * 2)


def test_a_restart_begins_a_new_curve() -> None:
    training = told([*history(60), {"event": "begin", "step": 0, "steps": 10}, step(1, steps=10)])
    assert [point.step for point in training.points] == [1]
    assert (training.evaluations, training.steps) == ({0: 3.5}, 10)


def test_time_left_has_the_pauses_and_passes_by_itself() -> None:
    first = [step(number) for number in range(1, 51)]
    evaluated = [{"event": "evaluation", "step": at, "eval_loss": 2.0, "seconds": 6.0} for at in (0, 25, 50)]
    training = told([*first, *evaluated, {**samples(50), "seconds": 4.0}])
    assert training.left(0.0) == pytest.approx(50 * 2 + 2 * 10)
    training.handle(Event("evaluation", {"step": 0, "eval_loss": 2.0}), 0.0)  # as a resumed one repeats it
    training.handle(Event.of(step(51, time=1000.0)), 0.0)
    assert [training.left(now) for now in (1000.0, 1001.5, 1060.0)] == pytest.approx([118, 116.5, 116])


def test_the_stage_goes_with_the_next_step_but_a_request_to_stop_stays() -> None:
    training = told([*history(), {"event": "stage", "text": "evaluating"}])
    assert "evaluating" in frame(training)[-1]
    training.handle(Event.of(step(61)), 0.0)
    assert "evaluating" not in frame(training)[-1]
    training.handle(Event("stage", {"text": "stopping after this step, with a checkpoint (Ctrl-C again kills it)"}), 0)
    training.handle(Event.of(step(62)), 0.0)
    assert "stopping after this step, with a checkpoint (Ctrl-C again kills it)" in frame(training)[-1]


def test_no_event_is_an_error() -> None:
    """Old runs lack keys, later versions add some, and a file can be damaged."""
    source = random.Random(0)
    kinds = ["attempt", "stage", "facts", "begin", "step", "evaluation", "samples", "checkpoint", "tracking"]
    kinds += ["warning", "retry", "plan", "cut", "stopped", "failed", "progress", "news"]
    keys = ["step", "steps", "loss", "tokens", "seconds", "eval_loss", "answers", "text", "attempt", "memory_gib"]
    keys += ["gpu_use", "epoch", "time", "micro_batch", "accumulation", "rows", "bytes", "of"]
    values = [None, 0, -3, 2.5, float("nan"), float("inf"), 1e300, "text", True, [], [{}], [None], {}, 7]
    for _ in range(300):
        training = Training()
        for _ in range(20):
            event = {key: source.choice(values) for key in source.sample(keys, 6)} | {"event": source.choice(kinds)}
            training.handle(Event.of(event), 0.0)
            assert event_text(Event.of(event)) is None or event_text(Event.of(event)) != ""
        assert len(frame(training, source.randint(1, 100), size := source.randint(1, 40))) == size
    training.handle(Event.of({}), 0.0)


# The frame


@pytest.mark.parametrize("width", [1, 20, 40, 59, 60, 80, 119, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 12, 24, 40, 100])
@pytest.mark.parametrize("plain", [True, False])
def test_a_frame_has_the_terminals_size(width: int, height: int, plain: bool) -> None:
    for events in ([], history(1), history()):
        lines = frame(told(events), width, height, plain=plain)
        assert len(lines) == height
        assert max(map(cell_len, lines)) <= width
        assert not any(ord(char) < 32 or char in "\u202e\u200d" for line in lines for char in line)


def test_80_by_24_has_everything() -> None:
    lines = frame(told(history()))
    text = "\n".join(lines)
    for words in (
        "train  NVIDIA H200 · bfloat16 · 4 × 2 rows a step", "60/100  epoch 0.60  80 s left", "loss     2.4000",
        "eval     2.5000 ↓", "tokens/s 500", "overall  500", "memory   31.8 GiB", "GPU      97%", "rate     2.00e-05",
        "saved    step 60", "── samples at step 60 ──", "› plain", "! mind [the] gap", "micro-batch 4 → 2",
    ):  # fmt: skip
        assert words in text
    assert "◆" in text
    assert "3.50 ┤◆" in text
    assert "[red]markup[/red] red" in "\n".join(frame(told(history()), 80, 40))
    assert sum(any("\u2801" <= char <= "\u28ff" for char in line) for line in lines) >= 4


def test_a_small_terminal_keeps_what_matters_most() -> None:
    training = told(history())
    assert frame(training, 40, 2)[1].startswith("60/100")
    text = "\n".join(frame(training, 40, 12))
    assert all(words in text for words in ("60/100", "loss     2.4000", "tokens/s", "◆", "micro-batch"))
    assert "samples" not in text


def test_a_terminal_without_braille() -> None:
    lines = frame(told([event for event in history() if event["event"] != "samples"]), plain=True)
    assert lines[1].startswith("####")
    assert "3.50 |o" in "\n".join(lines)
    assert not any("\u2500" <= char <= "\u28ff" for line in lines for char in line)


def test_secrets_and_what_a_terminal_would_obey_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_veryverysecret")
    answer = {"prompt": "hf_veryverysecret", "text": "\x1b]0;title\x07\x1b[2Ja\tb\r\nc\x9b2J", "finish": "stop"}
    events = [{"event": "stage", "text": "hf_veryverysecret"}, {"event": "samples", "step": 1, "answers": [answer]}]
    text = "\n".join(frame(told([*history(3), *events])))
    assert "veryvery" not in text + str([event_text(Event.of(event)) for event in events])
    assert "› <HF_TOKEN>" in text
    assert one_line(answer["text"]) == "a b c2J"
    assert one_line(None) == ""


def test_the_curve_is_as_large_as_asked_for_and_marks_evaluations() -> None:
    losses = [(number, 5.0 if number < 5 else 2.0 - number / 1000) for number in range(1, 501)]
    lines = [line.plain for line in draw_curve(losses, {0: 2.2, 500: 1.6}, 60, 10, plain=False)]
    assert len(lines) == 10
    assert {cell_len(line) for line in lines} == {60}
    assert "".join(lines).count("◆") == 2
    assert lines[0].startswith("2.20 ┤")  # the few at 5.0 do not press the rest flat
    assert lines[-1].split() == ["0", "500"]
    assert lines[-2].rstrip().endswith("⠤") or "1.50" in lines[-2]


@pytest.mark.parametrize("losses", [[], [(1, 2.0)], [(1, 2.0), (2, 2.0)], [(7, -1e9), (8, 1e9)]])
def test_a_curve_of_hardly_anything(losses: list[tuple[int, float]]) -> None:
    lines = draw_curve(losses, {0: 2.0}, 30, 5, plain=False)
    assert len(lines) == 5
    assert all(line.cell_len <= 30 for line in lines)


def test_smoothing_keeps_few_as_they_are_and_the_first_ones_steep() -> None:
    few = [(number, float(number)) for number in range(20)]
    assert smoothed(few) is few
    many = smoothed([(number, 1000.0 - number) for number in range(1000)])
    assert many[0] == (0, 1000.0)
    assert many[999] == (999, pytest.approx(1 + 39 / 2))


def test_bars_and_spans() -> None:
    assert [bar(part, 4).plain for part in (-1, 0, 0.5, 1, 7)] == ["────", "────", "━━──", "━━━━", "━━━━"]
    spans = [span(seconds) for seconds in (0, 89, 90, 3569, 3570, 3900, 200_000)]
    assert spans == ["0 s", "89 s", "2 min", "59 min", "1 h 00 min", "1 h 05 min", "2 d 7 h"]


# Lines


def test_samples_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (event_text(Event.of(samples(9))) or "").splitlines()
    assert lines[0] == "samples at step 9:"
    assert lines[1] == "    plain → " + " ".join(["An answer of some length."] * 20) + " …"
    assert lines[4] == "    [red]markup[/red] red → bell line turned 👩💻"
    short = (event_text(Event.of(samples(9)), 40) or "").splitlines()
    assert max(map(cell_len, short)) <= 40
    assert short[2].endswith("…")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "warning", "text": "the disk is nearly full"}, "warning: the disk is nearly full"),
        ({"event": "retry", "text": "out of memory: micro-batch 4 → 2"}, "out of memory: micro-batch 4 → 2"),
        ({"event": "plan", "text": "19 GiB, 300 steps"}, "19 GiB, 300 steps"),
        ({"event": "cut", "step": 120, "steps": 300}, "out of time: it ends at step 120 of 300"),
        ({"event": "cut", "path": "train/lora-1", "max_steps": 120}, "out of time: it ends at step 120"),
        ({"event": "cut", "path": "train/lora-1"}, "out of time: it ends"),
        ({"event": "step", "step": 3, "steps": 9}, "step 3/9"),
        ({"event": "evaluation", "step": 3}, None),
        ({"event": "samples", "step": 3}, "samples at step 3:"),
    ],
)
def test_events_in_words(event: Stored, text: str | None) -> None:
    assert event_text(Event.of(event)) == text


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Viewer(Output(), "train") as viewer:
        for event in [*history(100), {"event": "stopped"}]:
            viewer.show(Event.of(event))
    shown_ = capsys.readouterr()
    assert shown_.out == ""
    lines = shown_.err.splitlines()
    assert "\x1b" not in shown_.err
    assert lines[0] == "train: loading the model"
    assert lines[1] == "train: eval loss at step 0: 3.5000"
    assert lines[2] == "train: step 1/100  loss 2.9900  500 tokens/s  3 min left"
    assert lines[3:6] == [
        "train: step 100/100  loss 2.0000  500 tokens/s",
        "train: eval loss at step 100: 2.5000",
        "train: samples at step 100:",
    ]
    assert lines[-2] == "train: warning: mind [the] gap"


def test_json_is_an_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Viewer(Output(json=True), "train") as viewer:
        for event in history(5):
            viewer.show(Event.of(event))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [{"phase": "train", **event} for event in history(5)]


# A terminal

VIEWER = """
import json, sys, time
from twinctl.cli.output import Output
from twinctl.cli.watch import Viewer
from twinctl.pipeline.event import Event
with Viewer(Output(), "train", hint="Ctrl-C stops it") as viewer:
    for line in open(sys.argv[1]):
        event = json.loads(line)
        time.sleep(event.pop("wait", 0))
        viewer.show(Event.of(event))
print("behind it")
"""


class Terminal:
    """Shows events in a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self._path = home / "events.jsonl"

    def show(self, events: list[Stored], size: tuple[int, int] = (24, 80), **env: str) -> Any:
        self._path.write_text("".join(json.dumps(event) + "\n" for event in events))
        words = ["-c", VIEWER, str(self._path)]
        environ = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        environ |= {"TERM": "xterm-256color", **env}
        return pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=size, env=environ)


@pytest.fixture
def terminal(home: Path) -> Terminal:
    return Terminal(home)


def test_a_terminal_shows_a_line_then_the_display_then_the_summary(terminal: Terminal) -> None:
    events = [*history(), {"event": "stopped", "wait": 1.0}]
    child = terminal.show(events)
    child.expect_exact("loading the model")
    child.expect_exact("\x1b[?1049h")  # a screen of its own
    child.expect_exact("60/100  epoch 0.60")
    child.expect_exact("Ctrl-C stops it")
    child.expect_exact("\x1b[?1049l")
    child.expect_exact("eval loss")
    child.expect_exact("train: step 60/100  loss 2.4000  eval 2.5000 ↓  500 tokens/s")
    child.expect_exact("mind [the] gap")
    child.expect_exact("behind it")
    child.expect(pexpect.EOF)
    assert child.before.count("\x1b[?25l") == 0


def test_it_follows_the_terminals_size(terminal: Terminal) -> None:
    child = terminal.show([*history(), {"event": "stopped", "wait": 3.0}])
    child.expect_exact("samples at step 60")
    child.setwinsize(12, 40)
    child.expect(r"━\S*─+\S*\r?\n[^\n]*60/100  epoch 0.60")  # the bar on a line of its own
    child.setwinsize(40, 120)
    child.expect_exact("gradient")
    child.expect_exact("behind it")


def test_a_history_that_is_over_takes_no_screen_and_no_time(terminal: Terminal) -> None:
    steps = [step(number, steps=5000) for number in range(1, 5001)]
    child = terminal.show([{"event": "begin", "step": 0, "steps": 5000}, *steps])
    child.expect_exact("step 5000/5000")
    child.expect(pexpect.EOF)
    training, began = Training(), time.perf_counter()
    for event in steps:
        training.handle(Event.of(event), 0.0)
    frame(training)
    assert time.perf_counter() - began < 1.0


def test_without_colour(terminal: Terminal) -> None:
    child = terminal.show([*history(), {"event": "stopped", "wait": 0.8}], NO_COLOR="1")
    child.expect_exact("behind it")
    codes = {code for part in child.before.split("\x1b[")[1:] for code in [part.partition("m")[0]] if code.isdigit()}
    assert "◆" in child.before
    assert codes <= {"0", "1", "2"}  # bold and dim are no colours


def test_a_dumb_terminal_gets_lines(terminal: Terminal) -> None:
    child = terminal.show(history(), TERM="dumb")
    child.expect_exact("behind it")
    assert "\x1b" not in child.before
    assert "train: step 1/100  loss 2.9900" in child.before


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    child = terminal.show([*history(), {"event": "stopped", "wait": 30.0}])
    child.expect_exact("samples at step 60")
    child.kill(signal.SIGINT)
    child.expect_exact("\x1b[?25h\x1b[?1049l")
    child.expect_exact("train: step 60/100")
    child.expect_exact("KeyboardInterrupt")


def test_progress_has_a_bar(terminal: Terminal) -> None:
    child = terminal.show([{"event": "progress", "bytes": 2**30, "of": 2**32}, {"event": "stopped", "wait": 0.5}])
    child.expect_exact("━━━━━")
    child.expect_exact("25%  1.00 GiB of 4.00 GiB")
    child.expect_exact("behind it")


def test_what_went_before_is_recalled_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    class Live(Output):
        is_live = True  # type: ignore[assignment]

        err = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)  # type: ignore[assignment]

    with Viewer(Live(), "train") as viewer:
        viewer.recall(map(Event.of, history()))
        viewer.show(Event("begin", {"step": 60, "steps": 100}))
        viewer.show(Event.of(step(61)))
    assert capsys.readouterr().err == ""
    told_ = Live.err.file.getvalue()
    assert "train: step 61/100" in told_
    assert "◆" in told_


def test_nothing_of_it_is_loaded_before_it_is_needed() -> None:
    code = "import sys, twinctl.cli.app, twinctl.cli.watch; print([n for n in sys.modules if n.startswith('rich')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "rich.live" not in done.stdout
    assert "rich.text" not in done.stdout
