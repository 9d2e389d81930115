"""The quick test of a twin: fixed and held-out prompts, what is wrong with the answers, and whose style they have.

What must stay true: the prompts, their order, the seed and the limits are fixed, so two checks of one model agree; what
the answers are compared to (held-out rows) was never trained on; a result says what it was judged by.

The limits, and why. Endless: a long answer may be cut at 256 tokens, but most must end by themselves. Copies: a run of
50 tokens is what studies of memorisation call verbatim (Carlini and others, “Quantifying memorization across neural
language models”, 2023); an author who repeats himself does so in held-out rows too, and then their longest run counts.
Any other fault fails the check in one answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinctl.chat.memorization import Corpus
from twinctl.chat.quality_checks import TemplateText, faults_of
from twinctl.chat.style import Author, Style
from twinctl.config.sampling import Sampling
from twinctl.data.tokenizer import TextTokenizer
from twinctl.data.tokens import EVAL, IGNORED, evenly_spaced, read_tokens, samples
from twinctl.inference.chat_model import Answer, ChatModel, PromptFormat, Show, question_messages
from twinctl.inference.context_window import Exchange
from twinctl.pipeline.run_view import RunView

PROMPTS = (
    "Write a paragraph to introduce supervised fine-tuning.",
    "Who are you, and what do you write about?",
    "Give me one piece of advice, in one sentence.",
    "What did you think about this morning?",
)
HELD_OUT = 8
CHECK_TOKENS = 256
COPY = 50
MAY_BE_CUT = 0.25  # of the answers
FAULTS = {
    "endless": "did not end by its own stop token",
    "empty": "came back empty",
    "special": "shows special tokens",
    "template": "repeats the template",
    "loop": "loops",
    "copy": "copies a training row",
}


@dataclass(frozen=True)
class Evidence:
    """What a check compares to. `held_out`: questions and the author's answers, never trained on."""

    held_out: list[Exchange]
    corpus: Corpus
    template: TemplateText
    tokenizer: TextTokenizer

    @classmethod
    def read(cls, tokens: Path, prompt_format: PromptFormat) -> Evidence:
        """Read the rows of a tokens folder, and how the model is asked."""
        tokenizer, template = prompt_format.load()
        question = "twinctl asks"
        prompt = template.prompt([{"role": "user", "content": question}])
        text = TemplateText.of(prompt, question, tokenizer.specials)
        held_out = _held_out(tokens, tokenizer, after_question=prompt.rpartition(question)[2])
        return cls(held_out, Corpus.read(tokens), text, tokenizer)

    @property
    def most_repeated(self) -> int:
        """The longest run, in tokens, that a held-out answer has in common with the training rows."""
        return max((self.copied(row.answer)[1] for row in self.held_out), default=0)

    def copied(self, text: str) -> tuple[str, int]:
        """(text, tokens) of the longest run that the text has in common with the training rows."""
        (ids,) = self.tokenizer.encode([text])
        start, length = self.corpus.longest_run(ids)
        return self.tokenizer.decode([ids[start : start + length]])[0], length


def _held_out(tokens: Path, tokenizer: TextTokenizer, after_question: str) -> list[Exchange]:
    """The author's held-out rows. `after_question`: what the template writes between question and answer."""
    table = read_tokens(tokens, EVAL)
    roles, prompts = table["role"].to_pylist(), table["prompt"].to_pylist()
    wanted = [index for index, role in enumerate(roles) if role == "author"] or range(len(roles))
    learnt = [labels[labels != IGNORED].tolist() for _, labels in samples(table)]
    texts = tokenizer.decode([_answer_of(learnt[index], after_question, tokenizer) for index in wanted])
    return [Exchange(prompts[index], text) for index, text in zip(wanted, texts, strict=True)]


def _answer_of(ids: list[int], after_question: str, tokenizer: TextTokenizer) -> list[int]:
    """The learnt ids without special tokens; where the question is learnt as well, those of the answer."""
    (text,) = tokenizer.decode([ids])
    if after_question and after_question in text:
        (ids,) = tokenizer.encode([text.rpartition(after_question)[2]])
    return [token for token in ids if token not in tokenizer.special_ids]


@dataclass(frozen=True)
class CheckedAnswer:
    """One answer and what is wrong with it. `copied`: its longest run from a training row, in tokens, and the run."""

    prompt: str
    answer: Answer
    faults: tuple[str, ...]
    copied: int
    run: str

    def document(self) -> dict[str, Any]:
        """The JSON document of the answer."""
        answer = self.answer
        about = {"prompt": self.prompt, "text": answer.text, "tokens": answer.tokens, "finish": answer.finish}
        return {**about, "faults": list(self.faults), "copied": self.copied, "run": self.run}


@dataclass
class ChatCheck:
    """The outcome. `speaker`: the name of the model that answered; `styles`: of the author, this model and the base."""

    speaker: str
    sampling: Sampling
    copy_limit: int
    answers: list[CheckedAnswer] = field(default_factory=list)
    styles: dict[str, Style] = field(default_factory=dict)
    stopped: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """How many answers have each fault."""
        counts = Counter(fault for answer in self.answers for fault in answer.faults)
        return {name: counts[name] for name in FAULTS}

    @property
    def failures(self) -> list[str]:
        """What makes the check fail, in words."""
        total = len(self.answers)
        allowed = {"endless": int(MAY_BE_CUT * total)}
        failures = [
            f"{count} of {total} answers: {FAULTS[name]}"
            for name, count in self.counts.items()
            if count > allowed.get(name, 0)
        ]
        if self.is_nearer is False:
            failures.append("the twin is no nearer to the author's style than the base")
        return failures

    @property
    def is_nearer(self) -> bool | None:
        """Whether the model is nearer to the author's style than the base; None where that cannot be measured."""
        own, base = (self.styles[name].distance if name in self.styles else None for name in (self.speaker, "base"))
        return None if own is None or base is None else own < base

    def document(self) -> dict[str, Any]:
        """The JSON document of the check."""
        return {
            "speaker": self.speaker,
            "passed": not self.failures,
            "failures": self.failures,
            "faults": self.counts,
            "copy_limit": self.copy_limit,
            "sampling": self.sampling.model_dump(mode="json"),
            "styles": {name: style.rounded() for name, style in self.styles.items()},
            "answers": [answer.document() for answer in self.answers],
        }


def check(
    model: ChatModel,
    base: ChatModel | None,
    evidence: Evidence,
    sampling: Sampling,
    *,
    ask: Callable[[str], None],
    show: Show,
    done: Callable[[CheckedAnswer], None],
) -> ChatCheck:
    """Ask the model all prompts, streaming, and the base those that the author answered as well.

    `ask` gets each prompt, `show` the answer's pieces, `done` the checked answer. Ctrl-C ends it, with what came.
    """
    fixed = as_checked(sampling)
    result = ChatCheck(model.name, fixed, max(COPY, evidence.most_repeated + 1))
    asked = spread([row for row in evidence.held_out if row.question.strip()], HELD_OUT)
    for prompt in (*PROMPTS, *(row.question for row in asked)):
        ask(prompt)
        answer = model.answer(question_messages(prompt, fixed), fixed, show)
        if answer.finish == "interrupted":
            result.stopped = True
            return result
        result.answers.append(_checked(prompt, answer, evidence, result.copy_limit))
        done(result.answers[-1])
    _measure_styles(result, base, asked, evidence)
    return result


def as_checked(sampling: Sampling) -> Sampling:
    """The sampling with the check's own length, and no stop texts: a twin must end by its own stop token."""
    return sampling.model_copy(update={"max_new_tokens": CHECK_TOKENS, "stop": ()})


def suggested(view: RunView) -> list[str]:
    """Prompts to try: the check's own, and questions of held-out rows."""
    from twinctl.chat.model_files import tokens_of_twin

    table = read_tokens(tokens_of_twin(view).out, EVAL)
    questions = [Exchange(text, "") for text in table["prompt"].to_pylist() if text.strip()]
    return [*PROMPTS, *(row.question for row in spread(questions, HELD_OUT))]


def _checked(prompt: str, answer: Answer, evidence: Evidence, limit: int) -> CheckedAnswer:
    run, length = evidence.copied(answer.text)
    copy = ("copy",) if length >= limit else ()
    return CheckedAnswer(prompt, answer, (*faults_of(answer, evidence.template), *copy), length, run)


def _measure_styles(result: ChatCheck, base: ChatModel | None, asked: Sequence[Exchange], evidence: Evidence) -> None:
    """Measure the styles of all answers to the held-out prompts, the author's own too, against his other rows."""
    author = Author([row.answer for row in evidence.held_out if row not in asked])
    result.styles["author"] = author.measure([row.answer for row in asked])
    result.styles[result.speaker] = author.measure([each.answer.text for each in result.answers[len(PROMPTS) :]])
    if base is not None:
        answers = base.answers([question_messages(row.question, result.sampling) for row in asked], result.sampling)
        result.styles["base"] = author.measure([answer.text for answer in answers])


def spread(rows: Sequence[Exchange], count: int) -> list[Exchange]:
    """`count` rows of different questions, or all of them, as far from each other as possible."""
    different = list({row.question: row for row in reversed(rows)}.values())[::-1]
    return evenly_spaced(different, count)
