"""A workspace with a twin in it, made once by the command line with stand-ins for training and copied for each test."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.stand_ins import a_proof, fake_gguf, fake_train, make_model, rows, write_rows
from twinctl.cli.app import app
from twinctl.phases import gguf, merge, train
from twinctl.pipeline.phase import AnyAttempt, Produced

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def weights(seed: int, size: int = 300_000) -> bytes:
    """A file that passes for weights, with an empty header, different bytes for each seed."""
    import random

    head = b'{"__metadata__":{"format":"pt"}}'
    return len(head).to_bytes(8, "little") + head + random.Random(seed).randbytes(size)


def sharded_merge(attempt: AnyAttempt) -> Produced:
    """Leave a merged model of two shards."""
    (attempt.out / "config.json").write_text('{"model_type": "llama"}')
    (attempt.out / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    for seed, name in enumerate(SHARDS):
        (attempt.out / name).write_bytes(weights(seed))
    return Produced(metrics={"tensors": 2, "proof": a_proof(attempt)})


def make_twin(home: Path) -> Path:
    """prepare, train, export and two GGUF files in `home`/.twinctl; gives `home`."""
    model = make_model(home / "tiny-llama")
    write_rows(home / "posts.jsonl", rows(60))
    before = Path.cwd()
    os.chdir(home)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for phase, run in ((train, fake_train), (merge, sharded_merge), (gguf, fake_gguf)):
                patch.setattr(phase, "PHASE", replace(phase.PHASE, run=run, in_worker=False))
            _run("prepare", "--preset", "tiny", "--model", model, "-d", "posts.jsonl")
            _run("train")
            _run("export", "-q", "f16", "-q", "q8_0", "--merged")
    finally:
        os.chdir(before)
    return home


def _run(*words: Any) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="twinctl")
    assert done.exit_code == 0, done.output
