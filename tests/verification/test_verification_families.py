"""Sound files of other families pass: their tokenizers' ways with spaces and characters, their rotary embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.families import CORPUS, FAMILIES, NASTY, save_model
from twinctl.data.tokens import EVAL, TokenizedSample, TokensInfo, TokensWriter
from twinctl.gguf.writer import write_gguf
from twinctl.pipeline.model_parts import TrainedModel
from twinctl.verification.verify import prove_gguf


@pytest.mark.parametrize("family", ["qwen3", "mistral", "mistral3", "gemma3"])
def test_a_sound_file_passes(family: str, tmp_path: Path) -> None:
    """A model that was trained whole, so that there is no adapter and no base apart."""
    from transformers import AutoTokenizer

    from twinctl.verification.reference_model import ask_trained_model

    folder = save_model(family, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)  # as a merge leaves it
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "query_pre_attn_scalar": config["head_dim"]}))
    (tmp_path / "tokens").mkdir()
    with TokensWriter(tmp_path / "tokens", salt="") as writer:
        for text in [*CORPUS[:4], *NASTY] * 3:
            ids = [*tokenizer(text)["input_ids"][:400], tokenizer.eos_token_id]
            writer.add(EVAL, TokenizedSample(ids, [2, len(ids)], text, "", "", ""))
    info = TokensInfo(FAMILIES[family].template, 512, None)
    trained = TrainedModel(folder, None, tmp_path / "tokens", info)
    made = ask_trained_model(trained, seconds=240, progress=lambda done, total: None)
    made.save(tmp_path / "reference")
    written = write_gguf(folder, tmp_path / "model.gguf", "f32", name="x")
    report = prove_gguf(written.path, "f32", tmp_path / "reference", log=tmp_path / "log.txt").document()
    assert report["checks"]["distributions"]["kl"] < 1e-7
    assert report["checks"]["tokens"]["probes"] > 50 and report["checks"]["distributions"]["moved"] is None
