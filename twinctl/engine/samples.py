"""What the model in training answers to a few fixed held-out prompts, which shows how the twin emerges.

What must stay true: training is the same to the last bit with and without the answers: the random state is forked off,
and every mode, flag and setting that generation touches is put back. An answer adds little to the peak of memory, and
leaves nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.config.sampling import Sampling
from twinctl.data.tokens import EVAL, evenly_spaced, read_tokens
from twinctl.engine.generation import LocalModel
from twinctl.engine.private_apis import GENERATION_MODES, INNER_TOKENIZER, WEIGHT_CAST, free_decoding_cache
from twinctl.inference.chat_model import Answer
from twinctl.pipeline.event import SampleAnswer

OPENING = 32  # tokens of a text that answers nothing, which the model continues
ROOM = 512  # tokens of a prompt; of a longer one, the end
BATCH_TOKENS = (
    4096  # tokens that a batch may cache, by the 512 at a time that Unsloth's cache grows by: 0.5 GiB for an 8B
)


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt: its text for people, and its tokens."""

    text: str
    ids: list[int]


class Samples:
    """Fixed held-out prompts, and the answers that the model gives to them now.

    `count` prompts at most, the author's first, spread evenly over the held-out rows and all different; `longest` is
    an answer's length in tokens. The model may be wrapped in an adapter, and be in training or not.
    """

    def __init__(self, model: Any, tokenizer: Any, tokens: Path, *, count: int, longest: int = 96) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._greedy = Sampling(temperature=0, max_new_tokens=longest)
        most = getattr(model.config, "max_position_embeddings", None) or ROOM + longest
        self._room = max(min(ROOM, most - longest), 1)
        self.prompts = self._chosen(read_tokens(tokens, EVAL), count)

    def answer(self) -> list[SampleAnswer]:
        """The likeliest answer to each prompt."""
        if not self.prompts:
            return []
        with preserve_state(self._model, self._tokenizer):
            self._model.eval()
            local = LocalModel(self._model, self._tokenizer, "")
            widest = max(len(prompt.ids) for prompt in self.prompts) + ROOM + self._greedy.max_new_tokens
            rows = max(BATCH_TOKENS // widest, 1)
            batches = (self.prompts[start : start + rows] for start in range(0, len(self.prompts), rows))
            answers = [answer for batch in batches for answer in self._answers(local, batch)]
        return [
            SampleAnswer(prompt.text, answer.text, answer.finish)
            for prompt, answer in zip(self.prompts, answers, strict=True)
        ]

    def _chosen(self, rows: Any, count: int) -> list[SamplePrompt]:
        roles, texts = rows["role"].to_pylist(), rows["prompt"].to_pylist()
        first = {text or index: index for index, text in reversed([*enumerate(texts)])}  # each question once
        author = sorted(index for index in first.values() if roles[index] == "author")
        others = sorted(index for index in first.values() if roles[index] != "author")
        wanted = evenly_spaced(author, count)
        wanted += evenly_spaced(others, count - len(wanted))
        return [self._prompt(rows.slice(index, 1).to_pylist()[0]) for index in wanted]

    def _prompt(self, row: dict[str, Any]) -> SamplePrompt:
        ids, answer_start = row["input_ids"], row["trained"][-2]
        if not row["prompt"]:
            ids = ids[:OPENING]
            return SamplePrompt(self._tokenizer.decode(ids, skip_special_tokens=True), ids)
        if answer_start == 0:  # the question is learnt as well, and nothing says where its answer begins
            ids = self._tokenizer(self._question(row), add_special_tokens=False)["input_ids"]
        else:
            ids = ids[:answer_start]
        return SamplePrompt(row["prompt"], ids[-self._room :])

    def _question(self, row: dict[str, Any]) -> str:
        """The row's text up to its last answer; if that cannot be found, the question as chat would render it."""
        messages = [{"role": "user", "content": row["prompt"]}]
        alone: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        text = self._tokenizer.decode(row["input_ids"], clean_up_tokenization_spaces=False)
        asks = alone.rpartition(row["prompt"])[2]
        before, found, _ = text.rpartition(asks) if asks else (text, "", "")
        return alone if text.startswith(alone) or not found else before + found

    def _answers(self, local: LocalModel, batch: list[SamplePrompt]) -> list[Answer]:
        import torch

        width, pad = max(len(prompt.ids) for prompt in batch), self._tokenizer.pad_token_id
        missing = [width - len(prompt.ids) for prompt in batch]
        ids = [[pad] * short + prompt.ids for short, prompt in zip(missing, batch, strict=True)]
        inputs = {
            "input_ids": torch.tensor(ids, device=self._model.device),
            "attention_mask": torch.tensor([[0] * n + [1] * (width - n) for n in missing], device=self._model.device),
        }
        outputs = local.generate(inputs, self._greedy, disable_compile=True)[:, width:]
        return [local.answer_of(row.tolist()) for row in outputs]


@contextmanager
def preserve_state(model: Any, tokenizer: Any) -> Iterator[None]:
    """Inside, generation may change random states, modes and settings: they are restored, and its memory is freed."""
    with ExitStack() as stack:
        stack.callback(_free, model)
        for module in model.modules():
            _put_back(stack, module, *GENERATION_MODES)
            for settings in (vars(module).get("config"), vars(module).get("generation_config")):
                if hasattr(settings, "__dict__"):
                    _put_back(stack, settings, "use_cache", "cache_implementation", "compile_config", *vars(settings))
            _put_back(stack, vars(module).get(INNER_TOKENIZER, tokenizer), "padding_side")
        stack.enter_context(_forked(model.device))
        _free(model)
        yield


def _put_back(stack: ExitStack, target: Any, *names: str) -> None:
    """When the stack unwinds, restore the attributes as they are now; those that do not exist now are removed."""
    held = vars(target)
    before = {name: held[name] for name in names if name in held}

    def undo() -> None:
        for name in names:
            held.pop(name, None)
        held.update(before)

    stack.callback(undo)


@contextmanager
def _forked(device: Any) -> Iterator[None]:
    """The random states of python, numpy and torch are outside what they were, whatever is drawn inside."""
    import random

    import numpy as np
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def _free(model: Any) -> None:
    """Free what Unsloth keeps of an answer: its cache on attention modules, and the 16-bit copies of weights."""
    import torch

    free_decoding_cache(model)
    for weight in model.parameters():
        vars(weight).pop(WEIGHT_CAST, None)
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
