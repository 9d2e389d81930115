"""Answers from a loaded model: streamed one by one, or in batches.

What must stay true: the prompt is rendered by the template the model was trained with (it travels on the tokenizer);
generation ends at the model's own stop tokens; special tokens are never part of a text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from twinctl.chat.speaker import Answer, Finish
from twinctl.data.template import Message
from twinctl.engine.models import beside_its_base, dress, load_model
from twinctl.engine.start import into_log, start
from twinctl.errors import EngineError
from twinctl.recipes.chat import Sampling


class LocalModel:
    """A model in this process: the twin, or with `use_base` its base from the same weights."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self._model, self._tokenizer, self.name = model, tokenizer, name
        self.use_base = False

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
    ) -> LocalModel:
        """The adapter beside its base, or a whole `model`. What the libraries print goes to `log`."""
        with into_log(log):
            unsloth = start("auto")
            if adapter is not None:
                with beside_its_base(adapter, base) as folder:
                    loaded, tokenizer = load_model(unsloth, folder, max_length=max_length)
            else:
                loaded, tokenizer = load_model(unsloth, model or base, max_length=max_length)
            unsloth.FastLanguageModel.for_inference(loaded)
        dress(tokenizer, template, eos)
        return cls(loaded, tokenizer, name)

    def answer(self, messages: list[Message], sampling: Sampling, show: Callable[[str], None]) -> Answer:
        """See Speaker.answer. Raises EngineError when generation fails."""
        from transformers import TextIteratorStreamer

        inputs = self._prompts([messages])
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        generation = _Generation(self, inputs, sampling, streamer)
        began, pieces = time.monotonic(), []
        finish: Finish = "length"
        generation.start()
        try:
            for piece in streamer:
                if piece:
                    pieces.append(piece)
                    show(piece)
        except KeyboardInterrupt:
            generation.halt.set()
            finish = "interrupted"
        ids = generation.result()[0][inputs["input_ids"].shape[1] :]
        if finish != "interrupted" and int(ids[-1]) in self._stops():
            finish = "stop"
        return Answer("".join(pieces), len(ids), finish, time.monotonic() - began)

    def answers(self, talks: list[list[Message]], sampling: Sampling, *, batch_size: int = 16) -> list[Answer]:
        """Answers to many talks, in batches; in their order."""
        found: list[Answer] = []
        for start_at in range(0, len(talks), batch_size):
            began = time.monotonic()
            inputs = self._prompts(talks[start_at : start_at + batch_size])
            outputs = self.generate(inputs, sampling)[:, inputs["input_ids"].shape[1] :]
            seconds = time.monotonic() - began
            found += [self.answer_of(row.tolist(), seconds) for row in outputs]
        return found

    def generate(self, inputs: Any, sampling: Sampling, **more: Any) -> Any:
        """transformers' generate with this sampling; ids of shape (rows, prompt + answer)."""
        import torch

        torch.manual_seed(sampling.seed)
        how: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            how = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with torch.inference_mode(), self._weights():
            return self._model.generate(
                **inputs,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=sorted(self._stops()),
                pad_token_id=self._tokenizer.pad_token_id,
                use_cache=True,
                **how,
                **more,
            )

    def _weights(self) -> AbstractContextManager[Any]:
        if self.use_base and hasattr(self._model, "disable_adapter"):
            context: AbstractContextManager[Any] = self._model.disable_adapter()
            return context
        return nullcontext()

    def _prompts(self, talks: list[list[Message]]) -> Any:
        texts = [
            self._tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True) for talk in talks
        ]
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
        end = next((place for place, token in enumerate(ids) if token in self._stops()), None)
        text = self._tokenizer.decode(ids[:end], skip_special_tokens=True)
        length = len(ids) if end is None else end + 1
        return Answer(text, length, "length" if end is None else "stop", seconds)


class _Generation(threading.Thread):
    """Generation beside the reader of its stream; an error there is raised where the result is asked for."""

    def __init__(self, model: LocalModel, inputs: Any, sampling: Sampling, streamer: Any) -> None:
        super().__init__(daemon=True)
        self.halt = threading.Event()
        self._model, self._inputs, self._sampling, self._streamer = model, inputs, sampling, streamer
        self._ids: Any = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Generate until the model stops or `halt` is set."""
        from transformers import StoppingCriteriaList

        halted = StoppingCriteriaList([lambda ids, scores, **_: self._halted(ids)])
        try:
            self._ids = self._model.generate(
                self._inputs, self._sampling, streamer=self._streamer, stopping_criteria=halted
            )
        except Exception as error:
            self._error = error
            self._streamer.end()

    def _halted(self, ids: Any) -> Any:
        import torch

        return torch.full((ids.shape[0],), self.halt.is_set(), dtype=torch.bool, device=ids.device)

    def result(self) -> Any:
        """The ids. Raises EngineError when generation failed."""
        self.join()
        if self._error is not None:
            raise EngineError(f"generation failed: {self._error}", "try a shorter prompt") from self._error
        return self._ids
