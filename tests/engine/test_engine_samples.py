"""Answers of a model in training: training never notices them, and they are those that chat would give."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.engine import Folder
from twinctl.bundled import BASE
from twinctl.data.tokens import EVAL, TokenizedSample, TokensWriter

STEPS, LONGEST = 6, 24

# A short training, asking every second step or not, by one method; the losses, the weights, the answers and what the
# asking left changed. Then the same from its first checkpoint on; then chat's answers with the weights of each.
TRAINING = """
import hashlib, json, random, shutil
from pathlib import Path
from twinctl.engine.unsloth_import import into_log, start_unsloth
here, tokens, base, method = Path({here!r}), Path({tokens!r}), Path({base!r}), {method!r}

with into_log(here / "log.txt"):
    unsloth = start_unsloth("cpu")
    import numpy, torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer
    from twinctl.data.tokens import TRAIN, TokensInfo, read_tokens
    from twinctl.engine.generation import LocalModel
    from twinctl.inference.chat_model import ModelFiles
    from twinctl.engine.models import set_chat_template, load_model, stop_at
    from twinctl.engine.samples import Samples
    from twinctl.config.sampling import Sampling

    info = TokensInfo.read(tokens, 256)
    table = read_tokens(tokens, TRAIN).slice(0, 32)
    rows = Dataset.from_dict(dict.fromkeys(("input_ids", "labels"), table["input_ids"].to_pylist()))

    def state(model, tokenizer):
        modules = {{name: sorted(vars(module)) + [module.training, getattr(module, "gradient_checkpointing", None)]
                    for name, module in model.named_modules()}}
        settings = [model.config.to_dict(), model.generation_config.to_dict(), tokenizer.padding_side]
        drawn = [torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), random.getstate()]
        return json.dumps([modules, settings, drawn], default=str, sort_keys=True)

    class Ask(TrainerCallback):
        def __init__(self, samples, model, tokenizer):
            self.samples, self.about, self.answers, self.changed = samples, (model, tokenizer), {{}}, []

        def on_step_end(self, args, at, control, **_):
            if self.samples and at.global_step % 2 == 0:
                before = state(*self.about)
                self.answers[at.global_step] = [vars(answer) for answer in self.samples.answer()]
                if state(*self.about) != before:
                    self.changed.append(at.global_step)

    def training(out, *, ask, resume=None):
        model, tokenizer = load_model(unsloth, base, max_length=256, method=method)
        if method != "full":
            model = unsloth.FastLanguageModel.get_peft_model(
                model, r=8, lora_alpha=16, lora_dropout=0.1, target_modules=["q_proj", "v_proj", "down_proj"],
                use_gradient_checkpointing="unsloth", random_state=0, max_seq_length=256)
        set_chat_template(tokenizer, info.template, info.eos)
        stop_at(model.generation_config, tokenizer.eos_token_id)
        trainer = SFTTrainer(model=model, processing_class=tokenizer, train_dataset=rows, args=SFTConfig(
            output_dir=str(out), per_device_train_batch_size=2, max_steps={steps}, learning_rate=2e-3, seed=0,
            gradient_checkpointing=method != "full", dataset_kwargs=dict(skip_prepare_dataset=True), max_length=256,
            optim="adamw_torch_fused", save_steps=2, logging_steps=1, report_to="none", disable_tqdm=True))
        samples = Samples(model, tokenizer, tokens, count=4, longest={longest}) if ask else None
        watcher = Ask(samples, model, tokenizer)
        trainer.add_callback(watcher)
        trainer.train(resume_from_checkpoint=resume)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        (weights,) = (out / "checkpoint-{steps}").glob("*model.safetensors")
        return dict(losses=losses, weights=hashlib.sha256(weights.read_bytes()).hexdigest()), watcher

    plain, _ = training(here / "plain", ask=False)
    asked, watcher = training(here / "asked", ask=True)
    shutil.copytree(here / "asked" / "checkpoint-2", here / "resumed" / "checkpoint-2")
    resumed, _ = training(here / "resumed", ask=True, resume=str(here / "resumed" / "checkpoint-2"))
    chat = {{}}
    for step, answers in watcher.answers.items():
        weights = here / "asked" / f"checkpoint-{{step}}"
        where = dict(model=weights) if method == "full" else dict(adapter=weights)
        files = ModelFiles(base, info.template, info.eos, 256, here / "log.txt", **where)
        speaker = LocalModel.load(files, "twin")
        talks = [[dict(role="user", content=answer["prompt"])] for answer in answers]
        said = speaker.answers(talks, Sampling(temperature=0, max_new_tokens={longest}))
        chat[step] = [dict(prompt=a["prompt"], text=s.text, finish=s.finish) for a, s in zip(answers, said)]
print(json.dumps(dict(plain=plain, asked=asked, resumed=resumed, answers=watcher.answers, chat=chat,
                      changed=watcher.changed)))
"""


@pytest.mark.parametrize(("method", "bf16"), [("lora", "1"), ("full", "0")])
def test_training_never_notices_and_chat_would_answer_the_same(
    method: str, bf16: str, tmp_path: Path, in_process: Callable[..., Any]
) -> None:
    Folder(tmp_path).type("prepare", "--preset", "tiny")
    tokens = str(Folder(tmp_path).artifact("prepare") / "out")
    names = {"here": str(tmp_path), "tokens": tokens, "base": str(BASE), "method": method}
    found = in_process(TRAINING.format(**names, steps=STEPS, longest=LONGEST), UNSLOTH_CPU_BF16=bf16)
    assert found["asked"] == found["plain"]
    assert found["resumed"] == found["plain"]
    assert found["changed"] == []
    assert found["answers"] == found["chat"]
    assert [*found["answers"]] == ["2", "4", "6"]
    prompts = [[answer["prompt"] for answer in answers] for answers in found["answers"].values()]
    assert len(prompts[0]) == 4
    assert prompts == [prompts[0]] * 3
    assert all(answer["text"] for answers in found["answers"].values() for answer in answers)


# What is asked


class Letters:
    """A tokenizer of one token a letter; the template is that of Alpaca, shortened. ■ ends an answer, □ pads."""

    eos_token_id, pad_token_id, padding_side = ord("■"), ord("□"), "right"
    all_special_ids, added_tokens_decoder, chat_template = (ord("■"), ord("□")), dict[int, Any](), "Q: … A: …"

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids: list[int], *, skip_special_tokens: bool = False, **_: Any) -> str:
        text = "".join(chr(each) for each in ids)
        return text.strip("■□") if skip_special_tokens else text

    def apply_chat_template(self, talk: list[dict[str, str]], **_: Any) -> str:
        return f"Q: {talk[0]['content']}\nA: "


def _tokens(folder: Path, *rows: tuple[str, str, str, bool]) -> Path:
    """Held-out rows of (text, prompt, role, whether the answer alone is learnt)."""
    with TokensWriter(folder, salt="") as writer:
        for text, prompt, role, completion in rows:
            begins = text.rindex("A: ") + 3 if completion else 0
            writer.add(
                EVAL, TokenizedSample([ord(letter) for letter in text], [begins, len(text)], prompt, role, "s", "p")
            )
    return folder


def _asked(folder: Path, *, count: int = 3, most: int = 2048) -> list[tuple[str, str]]:
    from twinctl.engine.samples import Samples

    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=most))
    prompts = Samples(model, Letters(), folder, count=count).prompts
    return [(asked.text, "".join(chr(each) for each in asked.ids)) for asked in prompts]


def test_the_author_is_asked_first_each_question_once_and_from_all_over(tmp_path: Path) -> None:
    rows = [(f"Q: {n}?\nA: {n}!■", f"{n}?", "general" if n % 2 else "author", True) for n in range(40)]
    tokens = _tokens(tmp_path, *rows, *rows)
    assert [text for text, _ in _asked(tokens)] == ["6?", "20?", "32?"]
    most = [text for text, _ in _asked(tokens, count=30)]
    assert len(most) == len(set(most)) == 30
    assert {int(text[:-1]) % 2 for text in most[:20]} == {0}
    assert _asked(_tokens(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "prompt", "completion", "asked"),
    [
        ("Q: Why?\nA: So.■", "Why?", True, "Q: Why?\nA: "),
        ("Q: Why?\nA: So.■", "Why?", False, "Q: Why?\nA: "),
        ("Q: Why?\nA: As\nA: says.■", "Why?", False, "Q: Why?\nA: "),
        ("Q: Sum up:\n\nMuch.\nA: So.■", "Sum up:", False, "Q: Sum up:\n\nMuch.\nA: "),
        ("Q: Why?\nA: So.■Q: And?\nA: Then.■", "And?", True, "Q: Why?\nA: So.■Q: And?\nA: "),
        ("Q: Why?\nA: So.■Q: And?\nA: Then.■", "And?", False, "Q: Why?\nA: So.■Q: And?\nA: "),
        ("Another form of a talk", "Why?", False, "Q: Why?\nA: "),
    ],
)
def test_a_question_is_asked_up_to_its_answer(
    tmp_path: Path, text: str, prompt: str, completion: bool, asked: str
) -> None:
    assert _asked(_tokens(tmp_path, (text, prompt, "author", completion))) == [(prompt, asked)]


def test_a_text_is_begun_and_a_long_question_keeps_its_end(tmp_path: Path) -> None:
    question = "x" * 600 + "?"
    tokens = _tokens(
        tmp_path, ("Once upon a time there was " * 9, "", "author", False), (question + "A: ", question, "author", True)
    )
    (begun, ids), (shown, end) = _asked(tokens)
    assert begun == ids == ("Once upon a time there was " * 9)[:32]
    assert (shown, end) == (question, (question + "A: ")[-512:])
    assert _asked(tokens, most=136)[1][1] == (question + "A: ")[-40:]


# What is left behind


def _gpu_like() -> Any:
    """A model whose `generate` leaves behind what Unsloth's does on a GPU, and answers 'yes' and 'no■'."""
    import torch

    class Model(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attention_layer, self.device = torch.nn.Linear(2, 2), torch.device("cpu")
            self.attention_layer.gradient_checkpointing = "unsloth"
            self.config = SimpleNamespace(use_cache=False, max_position_embeddings=2048)
            self.generation_config = SimpleNamespace(eos_token_id=[1, 2], cache_implementation=None)
            self._saved_temp_tokenizer = Letters()
            self.batches: list[tuple[Any, Any]] = []

        def generate(self, *, input_ids: Any, attention_mask: Any, **how: Any) -> Any:
            assert not self.training
            self.batches.append((input_ids, attention_mask))
            layer = self.attention_layer
            layer.gradient_checkpointing, self._flag_for_generation, layer.weight._fast_lora = False, True, (1, 2)
            layer.paged_attention = layer.paged_attention_K = layer.temp_QA = torch.zeros(2)
            self.config.use_cache, self.generation_config.cache_implementation = True, "static"
            self.generation_config.compile_config = object()
            self._saved_temp_tokenizer.padding_side = "left"
            random.random(), torch.rand(3)
            answers = [[*map(ord, word)] for word in ("yes", "no■")]
            return torch.cat([input_ids, torch.tensor([answers[n % 2] for n in range(len(input_ids))])], 1)

    return Model()


def test_what_generation_leaves_behind_is_put_back_and_freed(tmp_path: Path) -> None:
    import torch

    from twinctl.engine.samples import Samples

    rows = [(f"Q: {'y' * n}?\nA: ■", f"{'y' * n}?", "author", True) for n in range(1, 17)]
    model = _gpu_like()
    tokenizer = model._saved_temp_tokenizer
    samples = Samples(model, tokenizer, _tokens(tmp_path, *rows), count=16, longest=3)

    def state() -> str:
        held = [sorted(vars(each)) for each in (model, model.attention_layer, model.attention_layer.weight)]
        modes = [model.training, model.attention_layer.training, model.attention_layer.gradient_checkpointing]
        settings = [vars(model.config), vars(model.generation_config), tokenizer.padding_side]
        return json.dumps([held, modes, settings, random.getstate(), torch.get_rng_state().tolist()], sort_keys=True)

    before = state()
    found = samples.answer()
    assert state() == before
    assert [(answer.text, answer.finish) for answer in found[:2]] == [("yes", "length"), ("no", "stop")]
    assert [answer.prompt for answer in found] == [prompt for _, prompt, _, _ in rows]

    assert sum(len(ids) for ids, _ in model.batches) == 16
    for ids, mask in model.batches:
        assert len(ids) * (ids.shape[1] + 512) <= 4096
        assert all(row[-4:] == [*map(ord, "\nA: ")] for row in ids.tolist())
        assert ((ids == tokenizer.pad_token_id) == (mask == 0)).all()


def test_also_when_generation_fails(tmp_path: Path) -> None:
    from twinctl.engine.samples import Samples

    model = _gpu_like()
    generate = model.generate

    def failing(**how: Any) -> None:
        generate(**how)
        raise RuntimeError("out of memory")

    model.generate = failing
    samples = Samples(model, Letters(), _tokens(tmp_path, ("Q: a?\nA: ■", "a?", "author", True)), count=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        samples.answer()
    assert model.training and model.attention_layer.training
    assert not hasattr(model.attention_layer, "paged_attention")
