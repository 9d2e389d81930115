"""How two models are compared: what the numbers mean; and nothing is demanded that the trained model does not do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinctl.data.tokens import EVAL, TRAIN, TokenizedSample, TokensInfo, TokensWriter
from twinctl.errors import CheckFailed, UpstreamError
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.verification import verify
from twinctl.verification.divergence import compare_answers, compare_distributions, divergences
from twinctl.verification.gguf_header import rotary_distance
from twinctl.verification.probes import PROBE_TEXTS, TokenizerProbe, held_out, probes
from twinctl.verification.reference import GreedyAnswers, ModelOutput, Reference, at
from twinctl.verification.verify import prove_gguf

RNG = np.random.default_rng(0)
SIZE, TOP_TOKENS, POSITIONS = 500, 100, 300


def _logits(spread: float = 3.0) -> Any:
    return (RNG.standard_normal((POSITIONS, SIZE)) * spread).astype(np.float32)


def _top(logits: Any) -> Any:
    return np.argsort(-logits, axis=1)[:, :TOP_TOKENS].astype(np.int32)


TRAINED, NOISE = _logits(), _logits(0.3)
BASE = TRAINED + _logits(0.05)


def _reference(**changes: Any) -> Reference:
    top = _top(TRAINED)
    made = Reference(
        split="eval",
        rows=[list(range(200)), list(range(100))],
        top=top,
        log_probs=at(TRAINED, top)[0].astype(np.float32),
        base=at(BASE, top)[0].astype(np.float32),
        prompts=[[1, 2], [3]],
        answers=GreedyAnswers([[5, 9], [6, 6, 6]], [True, False], [False, False]),
        limit=3,
        probes=[TokenizerProbe("a", True), TokenizerProbe("", False)],
        probe_ids=[[1, 5], []],
        stop=9,
        stops=[9, 8],
        rotary=[[1.0, 0.5]],
    )
    return replace(made, **changes)


def _seen(logits: Any, reference: Reference, **changes: Any) -> ModelOutput:
    log_probs, best = at(logits, reference.top)
    answers = GreedyAnswers(reference.answers.ids, reference.answers.ended, reference.answers.cut)
    return replace(ModelOutput(log_probs, best, answers, reference.probe_ids), **changes)


def test_equal_distributions_have_no_divergence() -> None:
    found = compare_distributions(_reference(), _seen(TRAINED + 7, _reference()))  # logits may be shifted
    assert (found.kl, found.top1) == (pytest.approx(0, abs=1e-9), 1.0)
    assert (found.positions, found.longest, found.late_positions) == (300, 200, 50)


def test_the_divergence_is_nearly_that_of_the_whole_vocabulary_and_never_more() -> None:
    everything = np.tile(np.arange(SIZE), (POSITIONS, 1))
    wanted, given = at(TRAINED, everything)[0], at(TRAINED + NOISE, everything)[0]
    whole = (np.exp(wanted) * (wanted - given)).sum(axis=1)
    coarse = divergences(*(at(logits, _top(TRAINED))[0] for logits in (TRAINED, TRAINED + NOISE)))
    assert (coarse <= whole + 1e-9).all() and coarse.mean() > 0.95 * whole.mean()


def test_how_often_the_training_is_in_a_file() -> None:
    """Also under noise whose divergence is many times what training moved."""
    reference, way = _reference(), TRAINED - BASE
    for times in (0.0, 1.0, 2.0):
        found = compare_distributions(reference, _seen(BASE + times * way + NOISE, reference))
        assert found.merged == pytest.approx(times, abs=0.1)
        assert found.moved is not None and found.kl > 20 * found.moved
    assert compare_distributions(_reference(base=None), _seen(TRAINED, reference)).merged is None
    assert compare_distributions(_reference(base=reference.log_probs), _seen(TRAINED, reference)).merged is None


def test_tokens_as_probable_as_each_other_are_one() -> None:
    """The second most probable token put first: a difference where the trained model tells them apart, else none."""
    for gap, agreed in ((0.02, 1.0), (0.05, 0.0)):
        trained, seen = TRAINED.copy(), TRAINED.copy()
        at_each = np.arange(POSITIONS)
        first, second = np.argsort(-TRAINED, axis=1)[:, :2].T
        trained[at_each, second] = trained[at_each, first] - gap
        seen[at_each, second] = seen[at_each, first] + 1e-3
        reference = _reference(top=_top(trained), log_probs=at(trained, _top(trained))[0].astype(np.float32))
        found = compare_distributions(reference, _seen(seen, reference))
        assert (found.top1, found.agreed) == (0.0, agreed)


def test_numbers_that_are_none_do_not_pass() -> None:
    found = compare_distributions(_reference(), _seen(np.full_like(TRAINED, np.nan), _reference()))
    assert not found.kl <= 1e9


def test_an_answer_that_the_trained_model_does_not_end_need_not_end() -> None:
    trained = GreedyAnswers([[1, 9], [2, 2, 2], [3, 9]], [True, False, True], [False] * 3)
    found = compare_answers(trained, GreedyAnswers([[1, 9], [2, 4, 4], [4, 4]], [True, False, False], [False] * 3))
    assert (found.prompts, found.same, found.ending, found.ended) == (3, 1, 2, 1)
    assert found.agreed == pytest.approx((1 + 1 / 3 + 0) / 3, abs=1e-6)
    cut = compare_answers(trained, GreedyAnswers([[1], [2], [3]], [False] * 3, [True] * 3))
    assert (cut.ending, cut.ended) == (0, 0), "for want of time nothing is said of them"


def test_a_reference_is_kept_whole_and_a_damaged_one_refused(tmp_path: Path) -> None:
    for made in (_reference(), _reference(base=None)):
        made.save(tmp_path / "reference")
        found = Reference.load(tmp_path / "reference")
        assert {**vars(found), **dict.fromkeys(("top", "log_probs", "base"))} == {
            **vars(made),
            **dict.fromkeys(("top", "log_probs", "base")),
        }
        np.testing.assert_array_equal(found.log_probs, made.log_probs)
        assert (found.base is None) == (made.base is None)
    assert [path.name for path in tmp_path.iterdir()] == ["reference"]
    arrays = tmp_path / "reference/reference.npz"
    arrays.write_bytes(arrays.read_bytes()[:-100])
    with pytest.raises(UpstreamError, match="does not hold what the trained model said"):
        Reference.load(tmp_path / "reference")
    with pytest.raises(UpstreamError, match="does not hold"):
        Reference.load(tmp_path / "nowhere")


def test_rows_are_one_long_context_and_then_each_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinctl.verification.probes.POSITIONS", 48)
    with TokensWriter(tmp_path, salt="") as writer:
        for row in range(6):
            learnt = [0, 10] if row in (1, 4) else [3, 10]
            writer.add(EVAL, TokenizedSample([row] * 10, learnt, "" if row == 4 else "Why?", "", "", ""))
        writer.add(TRAIN, TokenizedSample([7] * 10, [0, 10], "", "", "", ""))
    asked = held_out(tmp_path, max_length=25)
    assert asked.split == "eval"
    assert asked.rows == [[0] * 10 + [1] * 10 + [2] * 5, [3] * 10, [4] * 10, [5] * 3]
    assert asked.prompts == [[0] * 3, "Why?", [2] * 3, [3] * 3, [4] * 2, [5] * 3]


def test_without_held_out_rows_those_of_the_training_are_asked(tmp_path: Path) -> None:
    with TokensWriter(tmp_path, salt="") as writer:
        writer.add(TRAIN, TokenizedSample([7] * 10, [0, 10], "", "", "", ""))
    asked = held_out(tmp_path, max_length=25)
    assert (asked.split, asked.rows, asked.prompts) == ("train", [[7] * 10], [[7] * 2])


def test_a_tokenizer_that_composes_characters_is_asked_for_composed_ones() -> None:
    import unicodedata

    def encode(text: str) -> list[int]:
        return [ord(character) for character in text]

    def composing(text: str) -> list[int]:
        return encode(unicodedata.normalize("NFC", text))

    every = {probe.text for probe in probes(["a row"], ["<s>"], encode, bos="", space=" ")}
    fewer = {probe.text for probe in probes(["a row"], ["<s>"], composing, bos="", space=" ")}
    assert {"a row", "<s>", *PROBE_TEXTS} <= every
    assert fewer < every and all(unicodedata.normalize("NFC", text) != text for text in every - fewer)


def test_a_tokenizer_that_joins_marks_to_letters_is_asked_for_the_writers_only() -> None:
    def joining(text: str) -> list[int]:
        return [hash(word) for word in text.split(" ")]

    found = {probe.text for probe in probes(["नमस्ते सब"], [], joining, bos="", space=" ")}
    assert set(PROBE_TEXTS) - found == {text for text in PROBE_TEXTS if "नमस्ते" in text or "e\u0301" in text}
    assert "नमस्ते सब" in found


def test_what_llama_cpp_cannot_do_is_not_asked() -> None:
    """A space before a text but not after BOS; a space or what spells it."""

    def first(text: str) -> list[int]:
        return [0, *map(ord, text[1:])] if text.startswith("^") else [32, *map(ord, text)]

    found = probes(["^a row"], ["^"], first, bos="^", space="▁")
    assert all(probe.text.startswith("^") and not probe.special and "▁" not in probe.text for probe in found)
    assert {"^a row", f"^{PROBE_TEXTS[0]}"} <= {probe.text for probe in found}


def test_rotary_frequencies_are_held_against_the_nearest_kind() -> None:
    kinds = [[1.0, 0.1], [1.0, 0.01]]
    assert rotary_distance([1.0, 0.01], kinds) == 0
    assert rotary_distance([1.0, 0.0125], kinds) == pytest.approx(0.2)
    assert rotary_distance([1.0], kinds) == float("inf")


def test_each_check_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that does not stop, with a token too few and the wrong frequencies; its report is not written."""
    reference = _reference()
    reference.save(tmp_path / "reference")
    unending = GreedyAnswers([[5, 5], [6, 6]], [False, False], [False, False])
    seen = _seen(TRAINED, reference, answers=unending, probe_ids=[[1], []], stop_ids={"llama.cpp": [8]})
    monkeypatch.setattr(verify, "ask_gguf", lambda *_, **__: seen)
    monkeypatch.setattr(verify.Header, "read", lambda _: verify.Header("llama", 9, [[1.0, 0.4]]))
    with pytest.raises(CheckFailed) as caught:
        prove_gguf(Path("x.gguf"), "f16", tmp_path / "reference", log=tmp_path / "log", report=tmp_path / "report")
    for said in (
        "1 of 2 texts give other tokens, first 'a' at 1: [5] in training, [] here",
        "stops: the stop token is 9, but llama.cpp has [8]",
        "rotary: its rotary frequencies are off by up to 0.2",
        "answers: it ends 0 of the 1 answers",
    ):
        assert said in caught.value.message
    assert caught.value.exit_code == 8 and not (tmp_path / "report").exists()
    assert caught.value.hint == "make it again: twinctl export --restart"


@pytest.mark.parametrize(
    ("kind", "advice"), [("q4_k_m", "-q q5_k_m"), ("q8_0", "-q bf16"), ("4bit", "16bit"), ("f16", "")]
)
def test_where_rounding_alone_can_be_at_fault_a_finer_kind_is_named(
    kind: str, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference = _reference()
    reference.save(tmp_path / "reference")
    unending = GreedyAnswers([[5, 5], [6, 6]], [False, False], [False, False])
    seen = _seen(
        TRAINED, reference, answers=unending, probe_ids=reference.probe_ids, stop_ids={"llama.cpp": [reference.stop]}
    )
    monkeypatch.setattr(verify, "ask_gguf", lambda *_, **__: seen)
    monkeypatch.setattr(verify.Header, "read", lambda _: verify.Header("llama", 9, reference.rotary))
    with pytest.raises(CheckFailed, match="answers: it ends 0 of the 1") as caught:
        prove_gguf(Path("x.gguf"), kind, tmp_path / "reference", log=tmp_path / "log")
    assert caught.value.hint.startswith("make it again: twinctl export --restart")
    assert caught.value.hint.endswith(f": twinctl export {advice}") == bool(advice)


def test_what_fails_in_the_process_is_raised_here(tmp_path: Path) -> None:
    from twinctl.verification.isolated_process import make_reference

    trained = TrainedModel(tmp_path / "base", None, tmp_path / "tokens", TokensInfo("", 8, None))
    with pytest.raises(CheckFailed, match="the check's process died") as caught:
        make_reference(tmp_path / "reference", trained, log=tmp_path / "log.txt")
    assert "log.txt" in caught.value.hint and "Traceback" in (tmp_path / "log.txt").read_text()
