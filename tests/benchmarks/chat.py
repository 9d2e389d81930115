"""Speed of a streamed answer: twinctl's against the same model's bare `generate` with a TextStreamer, in one run.

    python tests/benchmarks/chat.py [--workspace .twinctl] [--run NAME] [--tokens 256] [--rounds 5] [--4bit]
    python tests/benchmarks/chat.py --model FOLDER       # any model, also one of random weights, without a run

Both are greedy, look out for the same end, which never comes, and print into a file. They take turns, first one then
the other first, and each round's two are compared with each other, so that what else the machine does falls on both;
the median of the rounds' ratios counts. Tokens/s are of the whole answer, prompt included; the first token is counted
from the prompt's text on. Exit 1 when a bar is missed: 0.95 of the bare speed on a CPU; 0.97 and 50 ms on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from twinctl.chat.model_selection import ModelSelection, select_models
from twinctl.config.sampling import Sampling
from twinctl.inference.chat_model import ModelFiles
from twinctl.pipeline.run_view import RunView
from twinctl.workspace.workspace import Workspace

QUESTION = "Write a paragraph to introduce supervised fine-tuning."
CPU_BAR, GPU_BAR, GPU_FIRST = 0.95, 0.97, 0.050


@dataclass
class Took:
    """One answer's speed, and the seconds to its first token."""

    speed: float
    first: float


def ours(speaker: Any, talk: list[dict[str, str]], tokens: int, out: TextIO) -> Took:
    """twinctl's streamed answer."""

    def show(piece: str) -> None:
        print(piece, end="", flush=True, file=out)

    answer = speaker.answer(talk, Sampling(temperature=0, max_new_tokens=tokens), show)
    assert answer.tokens == tokens, answer
    return Took(tokens / answer.seconds, answer.first_token_seconds)


def bare(speaker: Any, talk: list[dict[str, str]], tokens: int, out: TextIO) -> Took:
    """transformers' own, on the same weights."""
    import torch
    from transformers import TextStreamer

    class Printed(TextStreamer):  # type: ignore[misc]
        first = 0.0

        def put(self, value: Any) -> None:
            if not self.first and not self.next_tokens_are_prompt:
                self.first = time.monotonic()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            print(text, end="", flush=True, file=out)

    model, tokenizer = speaker._model, speaker._tokenizer
    began = time.monotonic()
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(model.device)
    inputs.pop("token_type_ids", None)
    streamer = Printed(tokenizer, skip_prompt=True, skip_special_tokens=True)
    how = {"max_new_tokens": tokens, "do_sample": False, "use_cache": True, "pad_token_id": tokenizer.pad_token_id}
    with torch.inference_mode():
        ids = model.generate(**inputs, **how, streamer=streamer)
    seconds = time.monotonic() - began
    assert ids.shape[1] - inputs["input_ids"].shape[1] == tokens
    return Took(tokens / seconds, streamer.first - began)


def never_stop(speaker: Any) -> None:
    """Let a token that is none end an answer, so that all have the same length and both look out for their end."""
    none = speaker._model.config.vocab_size
    speaker._model.generation_config.eos_token_id = [none]
    speaker._stops = lambda: {none}


def twin_of(workspace: Path, run: str | None, four_bit: bool) -> Any:
    """The run's twin, loaded."""
    opened = Workspace.open(workspace)
    (voices,) = select_models(RunView(opened, opened.run(run)), ModelSelection(four_bit=four_bit))
    (speaker,) = voices.load()
    return speaker


def model_in(folder: Path, four_bit: bool) -> Any:
    """The model in a folder, loaded as chat loads one and asked in the book's template."""
    from twinctl.data.template import load_template
    from twinctl.data.tokenizer import TextTokenizer
    from twinctl.engine.generation import LocalModel

    template = load_template("alpaca", folder, TextTokenizer.load(folder))
    about: dict[str, Any] = {"max_length": 2048, "template": template.text, "eos": template.eos}
    with tempfile.NamedTemporaryFile(suffix=".txt") as log:
        where: dict[str, Any] = {"model": folder, "adapter": None, "base": folder, "log": Path(log.name)}
        return LocalModel.load(ModelFiles(**where, **about), folder.name, four_bit=four_bit)


def main() -> int:
    """Measure, print the table, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(".twinctl"))
    parser.add_argument("--run")
    parser.add_argument("--model", type=Path, metavar="FOLDER")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--4bit", dest="four_bit", action="store_true")
    given = parser.parse_args()
    if given.model:
        speaker = model_in(given.model.resolve(), given.four_bit)
    else:
        speaker = twin_of(given.workspace, given.run, given.four_bit)
    never_stop(speaker)
    talk = [{"role": "user", "content": QUESTION}]
    took: dict[str, list[Took]] = {"bare generate": [], "twinctl": []}
    with tempfile.TemporaryFile("w") as out:
        turns = (("bare generate", bare), ("twinctl", ours))
        for number in range(given.rounds + 1):
            for name, run in turns[:: -1 if number % 2 else 1]:
                found = run(speaker, talk, given.tokens, out)  # type: ignore[operator]
                took[name] += [found] if number else []  # the first round warms up
    return report(took, str(speaker._model.device.type), given.tokens)


def report(took: dict[str, list[Took]], device: str, tokens: int) -> int:
    """The table, and whether the bar is met."""
    middle = {
        name: Took(statistics.median(each.speed for each in runs), statistics.median(each.first for each in runs))
        for name, runs in took.items()
    }
    print(f"{device}, {tokens} tokens an answer, medians of {len(took['twinctl'])}")
    print(f"{'':16}{'tokens/s':>10}{'from':>8}{'to':>8}{'first token, ms':>18}")
    for name, runs in took.items():
        speeds = [each.speed for each in runs]
        figures = f"{middle[name].speed:10.1f}{min(speeds):8.1f}{max(speeds):8.1f}{1000 * middle[name].first:18.1f}"
        print(f"{name:16}{figures}")
    pairs = zip(took["twinctl"], took["bare generate"], strict=True)
    ratio = statistics.median(one.speed / other.speed for one, other in pairs)
    later = middle["twinctl"].first - middle["bare generate"].first
    bar = CPU_BAR if device == "cpu" else GPU_BAR
    met = ratio >= bar and (device == "cpu" or later <= GPU_FIRST)
    print(f"ratio {ratio:.3f} (at least {bar}), first token {1000 * later:+.1f} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
