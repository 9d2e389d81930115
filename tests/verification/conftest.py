"""A tiny trained model and all that the proof asks of it, made without a training: the bundled base (which ends its
answers, and whose rotary embedding is scaled as Llama 3's), and an adapter of small random numbers.
"""

from __future__ import annotations

import pytest

from tests.support.verification import BASE, TinyTwin, save_adapter, save_merged, write_tokens
from twinctl.pipeline.model_parts import TrainedModel


@pytest.fixture(scope="session")
def tiny_twin(tmp_path_factory: pytest.TempPathFactory) -> TinyTwin:
    """See TinyTwin; the reference is made in this process, for torch is there anyway."""
    from twinctl.verification.reference_model import ask_trained_model

    folder = tmp_path_factory.mktemp("proof")
    info = write_tokens(folder / "tokens")
    save_merged(save_adapter(folder / "adapter"), folder / "merged")
    trained = TrainedModel(BASE, folder / "adapter", folder / "tokens", info)
    ask_trained_model(trained, seconds=240, progress=lambda done, total: None).save(folder / "reference")
    return TinyTwin(trained, folder / "merged", folder / "reference", folder / "log.txt")
