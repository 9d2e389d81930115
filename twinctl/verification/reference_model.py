"""The output of a trained adapter, or of a merged model, by plain transformers and PEFT, without Unsloth.

What must stay true: everything is computed in float32, whatever the weights are stored in, so that two models which
differ by rounding alone differ by next to nothing; answers are the most probable ones, with none of the sampling
settings that a base's generation_config brings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinctl.engine.models import adapter_with_base, set_chat_template, stop_at
from twinctl.errors import CheckFailed, EngineError
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.pipeline.phase import ReportProgress
from twinctl.planning.model_shape import ModelShape, weights_bytes
from twinctl.verification.probes import LONGEST_PROMPT, PROMPTS, TokenizerProbe, held_out, probes
from twinctl.verification.reference import TOP_TOKENS, GreedyAnswers, Ids, ModelOutput, Reference
from twinctl.wording import GIB, first_line

ANSWER_TOKENS = 128  # tokens an answer
_SLICE = 128  # positions whose probabilities are float64 at one time


def ask_trained_model(trained: TrainedModel, *, seconds: float, progress: ReportProgress) -> Reference:
    """Ask the adapter on its base, or the base itself where there is no adapter, all that every file will be asked.

    Rows that `seconds` do not suffice for are left out, except the first.
    """
    from transformers import AutoTokenizer

    began, info, adapter = time.monotonic(), trained.info, trained.adapter
    model, disabled = _load(trained.base, adapter, info.max_length)
    has_own_tokenizer = adapter is not None and (adapter / "tokenizer.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(adapter if has_own_tokenizer else trained.base)
    set_chat_template(tokenizer, info.template, info.eos)
    stop_at(model.generation_config, tokenizer.eos_token_id)
    asked = held_out(trained.tokens, info.max_length)
    prompts = [_rendered(tokenizer, prompt) if isinstance(prompt, str) else prompt for prompt in asked.prompts]
    with _in_float32():
        top, log_probs = _read(model, asked.rows, began + 0.3 * seconds, progress)
        rows = asked.rows[: len(top)]
        base_log_probs = None if disabled is None else _base_log_probs(disabled, model, rows, top)
        stops = _listed(model.generation_config.eos_token_id)
        answers = _answer(model, prompts, stops, ANSWER_TOKENS, began + seconds)
    wanted = _probes(tokenizer, rows)
    return Reference(
        split=asked.split,
        rows=rows,
        top=np.concatenate(top),
        log_probs=np.concatenate(log_probs),
        base=base_log_probs,
        prompts=prompts,
        answers=answers,
        limit=ANSWER_TOKENS,
        probes=wanted,
        probe_ids=[_encode(tokenizer, probe.text, probe.special) for probe in wanted],
        stop=tokenizer.eos_token_id,
        stops=stops,
        rotary=_rotary(model),
        facts={"device": model.device.type, "seconds": round(time.monotonic() - began, 1)},
    )


def ask_model_dir(folder: Path, reference: Reference, /, *, seconds: float, progress: ReportProgress) -> ModelOutput:
    """Ask a model folder what the reference was asked; it is loaded by transformers alone."""
    from transformers import AutoTokenizer

    began = time.monotonic()
    model, _ = _load(folder, None, max(map(len, reference.rows)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stops = _listed(model.generation_config.eos_token_id)
    with _in_float32():
        tops = np.split(reference.top, np.cumsum([len(row) for row in reference.rows])[:-1])
        rows = _in_time(reference.rows, began + 0.6 * seconds, progress)
        log_probs, best = zip(*(_at(model, row, top) for row, top in zip(rows, tops, strict=False)), strict=True)
        answers = _answer(model, reference.prompts, stops, 2 * reference.limit, began + seconds)
    return ModelOutput(
        log_probs=np.concatenate(log_probs),
        best=np.concatenate(best),
        answers=answers,
        probe_ids=[_encode(tokenizer, probe.text, probe.special) for probe in reference.probes],
        stop_ids={
            "the tokenizer": [tokenizer.eos_token_id],
            "config.json": _listed(model.config.eos_token_id),
            "generation_config.json": stops,
        },
        rotary=_rotary(model),
    )


def _load(
    folder: Path, adapter: Path | None, longest: int
) -> tuple[Any, Callable[[], AbstractContextManager[Any]] | None]:
    """The model in its stored precision, for rows of at most `longest` ids; and how to switch its adapter off."""
    import torch
    from transformers import AutoModelForCausalLM

    where = {"device_map": "auto"} if has_room_on_gpus(folder, longest) else {}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True, **where)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(
            f"not enough memory to check the model: {first_line(error)}", "--no-verify leaves it unchecked"
        ) from error
    keys = {kind: sorted(map(str, names))[:3] for kind, names in report.items() if names and kind.endswith("_keys")}
    if keys:
        raise CheckFailed(f"the model folder does not load whole in transformers: {keys}", "twinctl export --restart")
    model.eval()
    if adapter is None:
        return model, None
    from peft import PeftModel

    with adapter_with_base(adapter, folder) as beside:
        adapted = PeftModel.from_pretrained(model, str(beside)).eval()
    return model, adapted.disable_adapter  # the adapter's layers are in `model` itself now


def has_room_on_gpus(folder: Path, longest: int) -> bool:
    """Whether the GPUs hold the model, its last layer in float32 and its logits, estimated from the files. A GPU that
    is too small, as one that suffices for QLoRA may be, would let an export fail at its end.
    """
    import torch

    if not torch.cuda.is_available():
        return False
    weights = weights_bytes(folder)
    shape = ModelShape.load(folder)
    positions = max(longest, PROMPTS * LONGEST_PROMPT)
    working = 4 * shape.vocab * (shape.hidden + 1.5 * positions) if shape else weights / 2
    free: int = sum(torch.cuda.mem_get_info(device)[0] for device in range(torch.cuda.device_count()))
    return weights + working + GIB <= free


@contextmanager
def _in_float32() -> Iterator[None]:
    """Inside, products with weights and embeddings are float32, each weight widened for the moment it is needed."""
    import torch
    from torch.nn.functional import embedding, linear
    from torch.overrides import TorchFunctionMode

    class Widened(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is linear:
                args = [value.float() if isinstance(value, torch.Tensor) else value for value in args]
            result = function(*args, **(kwargs or {}))
            return result.float() if function is embedding else result

    with torch.inference_mode(), Widened():
        yield


def _in_time(rows: Sequence[list[int]], deadline: float, progress: ReportProgress) -> Iterator[list[int]]:
    """The rows, at least the first, until the deadline."""
    for done, row in enumerate(rows):
        if done and time.monotonic() > deadline:
            return
        yield row
        progress(done + 1, len(rows))


def _read(
    model: Any, rows: Sequence[list[int]], deadline: float, progress: ReportProgress
) -> tuple[list[Ids], list[NDArray[np.float32]]]:
    """The most probable ids and their log-probabilities, row by row, while there is time."""
    import torch

    tops, log_probs = [], []
    for row in _in_time(rows, deadline, progress):
        parts = [part.topk(min(TOP_TOKENS, part.shape[-1])) for part in _log_probs(model, row)]
        tops.append(torch.cat([part.indices for part in parts]).int().cpu().numpy())
        log_probs.append(torch.cat([part.values for part in parts]).float().cpu().numpy())
    return tops, log_probs


def _base_log_probs(
    disabled: Callable[[], AbstractContextManager[Any]], model: Any, rows: Sequence[list[int]], tops: Sequence[Ids]
) -> NDArray[np.float32]:
    """The base's log-probabilities at the adapter's tokens."""
    with disabled():
        return np.concatenate([_at(model, row, top)[0] for row, top in zip(rows, tops, strict=True)]).astype(np.float32)


def _at(model: Any, row: list[int], top: Ids) -> tuple[NDArray[np.float64], Ids]:
    """Log-probabilities at the ids of `top`, and the best id, after each id of a row."""
    import torch

    log_probs, best = [], []
    for start, part in zip(range(0, len(row), _SLICE), _log_probs(model, row), strict=True):
        ids = torch.from_numpy(top[start : start + _SLICE].astype(np.int64)).to(part.device)
        log_probs.append(part.gather(1, ids).cpu().numpy())
        best.append(part.argmax(1).int().cpu().numpy())
    return np.concatenate(log_probs), np.concatenate(best)


def _log_probs(model: Any, row: list[int]) -> Iterator[Any]:
    """Float64 log-probabilities after each id of a row, in slices."""
    import torch

    logits = model(input_ids=torch.tensor([row], device=model.device), use_cache=False).logits[0]
    for start in range(0, len(row), _SLICE):
        yield torch.log_softmax(logits[start : start + _SLICE].double(), -1)


def _answer(model: Any, prompts: Sequence[list[int]], stops: list[int], limit: int, deadline: float) -> GreedyAnswers:
    """The most probable answers, all prompts side by side. transformers' generate would use the base's settings."""
    import torch

    if not prompts:
        return GreedyAnswers([], [], [])
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    answers: list[list[int]] = [[] for _ in prompts]
    cache, is_open = None, [True] * len(prompts)
    while any(is_open) and len(max(answers, key=len)) < limit and not (answers[0] and time.monotonic() > deadline):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        ids, cache = output.logits[:, -1].argmax(-1, keepdim=True), output.past_key_values
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
        for at, token in enumerate(ids[:, 0].tolist()):
            if is_open[at]:
                answers[at].append(token)
                is_open[at] = token not in stops
    is_full = len(max(answers, key=len)) >= limit
    return GreedyAnswers(answers, [not still for still in is_open], [still and not is_full for still in is_open])


def _probes(tokenizer: Any, rows: Sequence[list[int]]) -> list[TokenizerProbe]:
    texts = [tokenizer.decode(row, skip_special_tokens=False) for row in rows]
    added = sorted(tokenizer.added_tokens_decoder)[:32]
    specials = [str(tokenizer.added_tokens_decoder[token]) for token in added]
    spelling = "".join(tokenizer.convert_ids_to_tokens(_encode(tokenizer, "a b", False)))
    return probes(
        texts,
        specials,
        lambda text: _encode(tokenizer, text, False),
        bos=tokenizer.bos_token or "",
        space="▁" if "▁" in spelling else " ",
    )


def _rendered(tokenizer: Any, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return _encode(tokenizer, text, False)[:LONGEST_PROMPT]


def _encode(tokenizer: Any, text: str, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special)["input_ids"])


def _listed(ids: Any) -> list[int]:
    return [] if ids is None else [int(token) for token in (ids if isinstance(ids, list) else [ids])]


def _rotary(model: Any) -> list[list[float]]:
    """The inverse frequencies of the model's rotary embeddings, each kind once."""
    kinds = [buffer.float().cpu().tolist() for name, buffer in model.named_buffers() if name.endswith("inv_freq")]
    return [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
