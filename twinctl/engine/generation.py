"""Answers from a loaded model: streamed one by one, or in batches.

What must stay true: the prompt is rendered by the template the model was trained with (it travels on the tokenizer);
generation ends at the model's own stop tokens; special tokens are never part of a text; a streamed answer is the one
that nobody watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.engine.models import adapter_with_base, load_model, set_chat_template
from twinctl.engine.oom import enough_memory, is_oom
from twinctl.engine.private_apis import free_decoding_cache
from twinctl.engine.stream_decoder import AnswerDecoder, listener
from twinctl.engine.unsloth_import import into_log, start_unsloth
from twinctl.errors import ConfigError, EngineError
from twinctl.inference.cancellation import Cancellation, cancel_on_ctrl_c
from twinctl.inference.chat_model import (
    DEFAULT_WINDOW,
    Answer,
    Finish,
    Show,
    is_made_for_single_turns,
    last_question,
    refuse_long,
)

BATCH_PROMPTS = 16  # prompts in a batch


class LocalModel:
    """A model in this process: the twin, or with `use_base` its base from the same weights."""

    def __init__(
        self, model: Any, tokenizer: Any, name: str, *, four_bit: bool = False, window: int | None = None
    ) -> None:
        self._model, self._tokenizer, self.name = model, tokenizer, name
        self._four_bit = four_bit
        self.use_base = False
        self.context: int = window or getattr(model.config, "max_position_embeddings", None) or DEFAULT_WINDOW
        self.is_single_turn = is_made_for_single_turns(str(tokenizer.chat_template))

    @classmethod
    def load(
        cls,
        *,
        model: Path | None,
        adapter: Path | None,
        base: Path,
        max_length: int,
        template: str,
        eos: str | None,
        name: str,
        log: Path,
        four_bit: bool = False,
    ) -> LocalModel:
        """The adapter beside its base, or a whole `model`. What the libraries print goes to `log`.

        Raises EngineError when memory does not suffice, or the files cannot be loaded.
        """
        seen = f"what the libraries said of it: {log}"
        with into_log(log), enough_memory(four_bit, "the model cannot be loaded", seen):
            unsloth = start_unsloth("auto")
            window = _window(model or base, max_length)
            how: dict[str, Any] = {"max_length": window, "method": "qlora" if four_bit else "lora"}
            with adapter_with_base(adapter, base) if adapter else nullcontext(model or base) as folder:
                loaded, tokenizer = load_model(unsloth, folder, **how)
            unsloth.FastLanguageModel.for_inference(loaded)
        set_chat_template(tokenizer, template, eos)
        return cls(loaded, tokenizer, name, four_bit=four_bit, window=window)

    def as_base(self, name: str = "base") -> LocalModel:
        """The base, speaking from the same weights with the adapter switched off."""
        base = LocalModel(self._model, self._tokenizer, name, four_bit=self._four_bit, window=self.context)
        base.use_base = True
        return base

    def close(self) -> None:
        """Free the model, once nobody else speaks from its weights."""
        import gc

        import torch

        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def count(self, messages: list[Message]) -> int:
        """See ChatModel.count."""
        return len(self._tokenizer(self.rendered(messages), add_special_tokens=False)["input_ids"])

    def rendered(self, messages: list[Message]) -> str:
        """The prompt's text. Raises ConfigError when the template refuses the talk."""
        seen = last_question(messages) if self.is_single_turn else messages
        try:
            text: str = self._tokenizer.apply_chat_template(seen, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template refuses by raising, and can trip over anything
            raise ConfigError(
                f"the template refuses this talk: {error}", "leave out --system, or begin anew: /clear"
            ) from error
        return text

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        """See ChatModel.answer."""
        began = time.monotonic()
        with cancel_on_ctrl_c() as cancellation:
            return self._answered([messages], sampling, [show], cancellation, began)[0]

    def answers(self, talks: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        """See ChatModel.answers; in batches of prompts that are about equally long."""
        order = sorted(range(len(talks)), key=lambda place: self.count(talks[place]))
        found: dict[int, Answer] = {}
        for start_at in range(0, len(order), BATCH_PROMPTS):
            places = order[start_at : start_at + BATCH_PROMPTS]
            found.update(zip(places, self._batch([talks[place] for place in places], sampling), strict=True))
        return [found[place] for place in range(len(talks))]

    def _batch(self, talks: list[list[Message]], sampling: Sampling) -> list[Answer]:
        """The answers, in halves where memory does not suffice for all at once."""
        try:
            return self._answered(talks, sampling, [_silent] * len(talks), None, time.monotonic())
        except EngineError as error:
            if len(talks) == 1 or not is_oom(error.__cause__):
                raise
        half = len(talks) // 2
        return self._batch(talks[:half], sampling) + self._batch(talks[half:], sampling)

    def _answered(
        self,
        talks: list[list[Message]],
        sampling: Sampling,
        shows: list[Show],
        cancellation: Cancellation | None,
        began: float,
    ) -> list[Answer]:
        inputs = self._prompts(talks)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        width = inputs["input_ids"].shape[1]
        refuse_long(width, self.context)
        fitted = sampling.model_copy(update={"max_new_tokens": min(sampling.max_new_tokens, self.context - width)})
        spoken = [AnswerDecoder(self._tokenizer, self._stops(), sampling.stop, show) for show in shows]
        try:
            with enough_memory(self._four_bit, "generation failed", "try a shorter prompt"):
                self.generate(inputs, fitted, stopping_criteria=_criteria(listener(spoken, cancellation)))
        except KeyboardInterrupt:
            if cancellation is None:
                raise
            cancellation.requested = True
        for each in spoken:
            each.close()
        about: dict[str, Any] = {
            "began": began,
            "seed": sampling.seed,
            "halted": cancellation is not None and cancellation.requested,
        }
        seconds = time.monotonic() - began
        return [
            _answer(each, seconds, prompt_tokens=length, **about) for each, length in zip(spoken, lengths, strict=True)
        ]

    def generate(self, inputs: Any, sampling: Sampling, **more: Any) -> Any:
        """transformers' generate with this sampling; ids of shape (rows, prompt + answer)."""
        import torch

        torch.manual_seed(sampling.seed)
        try:
            with torch.inference_mode(), self._weights():
                return self._model.generate(
                    **inputs,
                    max_new_tokens=sampling.max_new_tokens,
                    eos_token_id=sorted(self._stops()),
                    pad_token_id=self._tokenizer.pad_token_id,
                    use_cache=True,
                    **_how(sampling),
                    **more,
                )
        except BaseException:  # a cache that is half made would let the next answer fail, and takes memory
            free_decoding_cache(self._model)
            raise

    def _weights(self) -> AbstractContextManager[Any]:
        if self.use_base and hasattr(self._model, "disable_adapter"):
            context: AbstractContextManager[Any] = self._model.disable_adapter()
            return context
        return nullcontext()

    def _prompts(self, talks: list[list[Message]]) -> Any:
        texts = [self.rendered(talk) for talk in talks]
        self._tokenizer.padding_side = "left"
        batch = self._tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, add_special_tokens=False)
        batch.pop("token_type_ids", None)
        return batch.to(self._model.device)

    def _stops(self) -> set[int]:
        configured = self._model.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return {int(token) for token in [*listed, self._tokenizer.eos_token_id] if token is not None}

    def answer_of(self, ids: list[int], seconds: float) -> Answer:
        """The answer that generated ids (without the prompt, pads behind its end) are, made in so many seconds."""
        spoken = AnswerDecoder(self._tokenizer, self._stops(), (), _silent)
        for token in ids:
            spoken.add(token)
        spoken.close()
        return _answer(spoken, seconds)


def _answer(
    spoken: AnswerDecoder,
    seconds: float,
    *,
    prompt_tokens: int = 0,
    began: float = 0.0,
    seed: int = 0,
    halted: bool = False,
) -> Answer:
    finish: Finish = "stop" if spoken.ended else "interrupted" if halted else "length"
    return Answer(
        spoken.text,
        spoken.tokens,
        finish,
        seconds,
        prompt_tokens=prompt_tokens,
        first_token_seconds=spoken.first - began if spoken.first else 0.0,
        seed=seed,
        specials=spoken.specials,
    )


def _how(sampling: Sampling) -> dict[str, Any]:
    """generate's settings; all of them, so that none of the model's own counts."""
    penalty = {"repetition_penalty": sampling.repetition_penalty}
    if sampling.temperature == 0:
        return {"do_sample": False, **penalty}
    names = ("temperature", "top_p", "top_k", "min_p")
    return {"do_sample": True, **penalty, **{name: getattr(sampling, name) for name in names}}


def _window(folder: Path, max_length: int) -> int:
    """The tokens that a talk can have: the model's own window up to DEFAULT_WINDOW, and what it was trained with."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    own = getattr(config.get_text_config(), "max_position_embeddings", None) or max_length
    return max(max_length, min(own, DEFAULT_WINDOW))


def _criteria(listen: Callable[..., Any]) -> Any:
    from transformers import StoppingCriteriaList

    return StoppingCriteriaList([listen])


def _silent(piece: str) -> None:
    """Show nothing."""
