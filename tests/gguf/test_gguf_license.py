"""The licence in a file's header is what the base's model card says, and nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinctl.phases.gguf import _license_of
from twinctl.pipeline.base_checkpoint import BUNDLED, BaseCheckpoint


def test_the_bundled_base_says_its_own() -> None:
    assert _license_of(BaseCheckpoint(BUNDLED)) == "apache-2.0"


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("---\nlanguage: en\nlicense: llama3.1\n---\n# A model\n", "llama3.1"),
        ("---\nlicense: other\nlicense_name: 'qwen-research'\n---\n", "qwen-research"),
        ("# A model\nlicense: mit\n", ""),
        ("---\nlanguage: en\n---\nlicense: mit\n", ""),
        (None, ""),
    ],
)
def test_a_model_card_says_it(card: str | None, found: str, tmp_path: Path) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert _license_of(BaseCheckpoint(str(tmp_path), path=str(tmp_path))) == found
    assert _license_of(BaseCheckpoint("gone", path=str(tmp_path / "gone"))) == ""
