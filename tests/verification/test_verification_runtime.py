"""llama.cpp over its C interface: its numbers do not depend on how they are asked for; another library is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from tests.support.verification import TinyTwin
from twinctl.errors import EngineError
from twinctl.gguf import runtime
from twinctl.gguf.runtime import Llama

TEXT = "### Instruction:\nWhere does an otter live?\n\n### Response:\n"


@pytest.fixture(scope="module")
def llama(tiny_twin: TinyTwin) -> Iterator[Llama]:
    with closing(Llama(tiny_twin.file("f32"))) as loaded:
        yield loaded


def test_logits_do_not_depend_on_the_blocks_they_come_in(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).integers(3, llama.size, 300).tolist()
    blocks = list(llama.logits(ids))
    assert [len(block) for block in blocks] == [256, 44]
    monkeypatch.setattr(runtime, "BATCH", 64)
    np.testing.assert_allclose(np.concatenate(blocks), np.concatenate(list(llama.logits(ids))), atol=2e-2)


def test_greedy_answers_are_what_the_logits_say(llama: Llama) -> None:
    prompts = [llama.tokenize(text, special=True) for text in (TEXT, "Who are you?", TEXT * 20)]
    together = llama.greedy(prompts, 40)
    for prompt, answer in zip(prompts, together, strict=True):
        best = np.concatenate([block.argmax(1) for block in llama.logits(prompt + answer.ids)])
        assert best[len(prompt) - 1 : -1].tolist() == answer.ids
        assert answer.ended == llama.ends(answer.ids[-1]) and (answer.ended or len(answer.ids) == 40)
        assert not answer.cut
    assert [one.ids for one in llama.greedy(prompts[:1], 40)] == [together[0].ids]


def test_for_lack_of_time_answers_are_cut(llama: Llama) -> None:
    (answer,) = llama.greedy([llama.tokenize(TEXT, special=True)], 40, deadline=0)
    assert answer.cut and not answer.ended and len(answer.ids) == 1


def test_special_tokens_in_a_text_and_around_it(llama: Llama) -> None:
    plain = llama.tokenize("a <|pad|> b", special=False)
    assert 2 in plain and llama.tokenize("a <|pad|> b", special=True) == [0, *plain]
    assert llama.tokenize("", special=False) == [] and llama.eos == 1 and llama.ends(1) and not llama.ends(5)


def test_a_library_with_another_layout_is_refused(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    library = runtime._library()
    monkeypatch.setattr(library, "llama_n_batch", lambda context: 512)
    with pytest.raises(EngineError, match="lays out its structures in another way"):
        list(llama.logits([1, 2, 3]))
