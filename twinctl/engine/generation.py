"""Answers from a loaded model: streamed one by one, or in batches.

What must stay true: the prompt is rendered by the template the model was trained with (it travels on the tokenizer);
generation ends at the model's own stop tokens; special tokens are never part of a text; a streamed answer is the same
as one that is not shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.engine.models import adapter_with_base, free_memory, load_model, set_chat_template
from twinctl.engine.oom import enough_memory, is_oom
from twinctl.engine.private_apis import free_decoding_cache
from twinctl.engine.stream_decoder import AnswerDecoder, stopping_criterion
from twinctl.engine.unsloth_import import into_log, start_unsloth
from twinctl.errors import ConfigError, EngineError
from twinctl.inference.cancellation import Cancellation, cancel_on_ctrl_c
from twinctl.inference.chat_model import (
    DEFAULT_WINDOW,
    Answer,
    Finish,
    ModelFiles,
    Show,
    is_made_for_single_turns,
    last_question,
    refuse_long,
)

BATCH_PROMPTS = 16


class LocalModel:
    """A model in this process, which fulfils ChatModel: the twin, or with `use_base` its base from the same weights."""

    def __init__(
        self, model: Any, tokenizer: Any, name: str, *, four_bit: bool = False, window: int | None = None
    ) -> None:
        self._model, self._tokenizer, self.name = model, tokenizer, name
        self._four_bit = four_bit
        self.use_base = False
        self.context: int = window or getattr(model.config, "max_position_embeddings", None) or DEFAULT_WINDOW
        self.is_single_turn = is_made_for_single_turns(str(tokenizer.chat_template))

    @classmethod
    def load(cls, files: ModelFiles, name: str, *, four_bit: bool = False) -> LocalModel:
        """Load a model. Raises EngineError if memory does not suffice, or the files cannot be loaded."""
        hint = f"what the libraries said of it: {files.log}"
        whole = files.model or files.base
        with into_log(files.log), enough_memory(four_bit, "the model cannot be loaded", hint):
            unsloth = start_unsloth("auto")
            window = _window(whole, files.max_length)
            method = "qlora" if four_bit else "lora"
            with adapter_with_base(files.adapter, files.base) if files.adapter else nullcontext(whole) as folder:
                loaded, tokenizer = load_model(unsloth, folder, max_length=window, method=method)
            unsloth.FastLanguageModel.for_inference(loaded)
        set_chat_template(tokenizer, files.template, files.eos)
        return cls(loaded, tokenizer, name, four_bit=four_bit, window=window)

    def as_base(self) -> LocalModel:
        """The base, from the same weights with the adapter switched off."""
        base = LocalModel(self._model, self._tokenizer, "base", four_bit=self._four_bit, window=self.context)
        base.use_base = True
        return base

    def close(self) -> None:
        """Free the weights, unless the base or the twin from the same weights is still open."""
        self._model = None
        free_memory()

    def count(self, messages: list[Message]) -> int:
        """See ChatModel.count."""
        return len(self._tokenizer(self.rendered(messages), add_special_tokens=False)["input_ids"])

    def rendered(self, messages: list[Message]) -> str:
        """The prompt's text. Raises ConfigError if the template refuses the conversation."""
        seen = last_question(messages) if self.is_single_turn else messages
        try:
            text: str = self._tokenizer.apply_chat_template(seen, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template refuses by raising, and can trip over anything
            raise ConfigError(
                f"the template refuses this conversation: {error}", "leave out --system, or start again: /clear"
            ) from error
        return text

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        """See ChatModel.answer."""
        with cancel_on_ctrl_c() as cancellation:
            return self._generate_answers([messages], sampling, show, cancellation)[0]

    def answers(self, conversations: Sequence[list[Message]], sampling: Sampling) -> list[Answer]:
        """See ChatModel.answers; in batches of prompts of similar length."""
        order = sorted(range(len(conversations)), key=lambda index: self.count(conversations[index]))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), BATCH_PROMPTS):
            batch = order[start : start + BATCH_PROMPTS]
            answers.update(zip(batch, self._batch([conversations[index] for index in batch], sampling), strict=True))
        return [answers[index] for index in range(len(conversations))]

    def _batch(self, conversations: list[list[Message]], sampling: Sampling) -> list[Answer]:
        """The answers, in halves if memory does not suffice for all at once."""
        try:
            return self._generate_answers(conversations, sampling, lambda piece: None, None)
        except EngineError as error:
            if len(conversations) == 1 or not is_oom(error.__cause__):
                raise
        half = len(conversations) // 2
        return self._batch(conversations[:half], sampling) + self._batch(conversations[half:], sampling)

    def _generate_answers(
        self, conversations: list[list[Message]], sampling: Sampling, show: Show, cancellation: Cancellation | None
    ) -> list[Answer]:
        """The answers to one batch; `show` gets the pieces of them all."""
        from transformers import StoppingCriteriaList

        began = time.monotonic()
        inputs = self._inputs(conversations)
        width = inputs["input_ids"].shape[1]
        refuse_long(width, self.context)
        fitted = sampling.model_copy(update={"max_new_tokens": min(sampling.max_new_tokens, self.context - width)})
        decoders = [AnswerDecoder(self._tokenizer, self._stops(), sampling.stop, show) for _ in conversations]
        criteria = StoppingCriteriaList([stopping_criterion(decoders, cancellation)])
        try:
            with enough_memory(self._four_bit, "generation failed", "try a shorter prompt"):
                self.generate(inputs, fitted, stopping_criteria=criteria)
        except KeyboardInterrupt:
            if cancellation is None:
                raise
            cancellation.requested = True
        seconds = time.monotonic() - began
        unfinished: Finish = "interrupted" if cancellation is not None and cancellation.requested else "length"
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            decoder.close(seconds, unfinished=unfinished, prompt_tokens=length, began=began, seed=sampling.seed)
            for decoder, length in zip(decoders, lengths, strict=True)
        ]

    def generate(self, inputs: Any, sampling: Sampling, **more: Any) -> Any:
        """transformers' generate with this sampling; ids of shape (rows, prompt + answer)."""
        import torch

        torch.manual_seed(sampling.seed)
        try:
            is_adapted = hasattr(self._model, "disable_adapter")
            base = self._model.disable_adapter() if self.use_base and is_adapted else nullcontext()
            with torch.inference_mode(), base:
                return self._model.generate(
                    **inputs,
                    max_new_tokens=sampling.max_new_tokens,
                    eos_token_id=sorted(self._stops()),
                    pad_token_id=self._tokenizer.pad_token_id,
                    use_cache=True,
                    **_generate_arguments(sampling),
                    **more,
                )
        except BaseException:
            free_decoding_cache(self._model)
            raise

    def _inputs(self, conversations: list[list[Message]]) -> Any:
        texts = [self.rendered(messages) for messages in conversations]
        self._tokenizer.padding_side = "left"
        batch = self._tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, add_special_tokens=False)
        batch.pop("token_type_ids", None)
        return batch.to(self._model.device)

    def _stops(self) -> set[int]:
        configured = self._model.generation_config.eos_token_id
        listed = configured if isinstance(configured, list) else [configured]
        return {int(token) for token in [*listed, self._tokenizer.eos_token_id] if token is not None}

    def answer_of(self, ids: list[int]) -> Answer:
        """The answer that generated ids stand for; `ids` has no prompt, and may have pads after its end."""
        decoder = AnswerDecoder(self._tokenizer, self._stops(), (), lambda piece: None)
        for token in ids:
            decoder.add(token)
        return decoder.close()


def _generate_arguments(sampling: Sampling) -> dict[str, Any]:
    """The sampling as generate's arguments: all of them, so that none of the model's own has an effect."""
    penalty = {"repetition_penalty": sampling.repetition_penalty}
    if sampling.temperature == 0:
        return {"do_sample": False, **penalty}
    names = ("temperature", "top_p", "top_k", "min_p")
    return {"do_sample": True, **penalty, **{name: getattr(sampling, name) for name in names}}


def _window(folder: Path, max_length: int) -> int:
    """The tokens that a conversation can have: the model's own window, up to DEFAULT_WINDOW, but at least `max_length`,
    which it was trained with.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    own = getattr(config.get_text_config(), "max_position_embeddings", None) or max_length
    return max(max_length, min(own, DEFAULT_WINDOW))
