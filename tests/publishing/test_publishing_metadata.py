"""The YAML, field by field: what the Hub reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.written_records import DATA_SHA, REAL_CARD_DATA, SHA, RecordedRun, source
from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.publishing import Card

BASE = "meta-llama/Llama-3.1-8B"


def yaml_of(card: Card) -> dict[str, Any]:
    """By the Hub's own client, which parses the model-index as well."""
    from huggingface_hub import ModelCard

    return dict(ModelCard(card.text).data.to_dict())


def test_an_adapter_says_all_that_the_hub_reads(recorded_run: RecordedRun) -> None:
    assert yaml_of(recorded_run.card("adapter")) == {
        "base_model": BASE,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "llama3.1",
        "license_link": f"https://huggingface.co/{BASE}/blob/{SHA}/LICENSE",
        "datasets": ["mlabonne/llmtwin", "mlabonne/FineTome-Alpaca-100k"],
        "tags": ["twinctl", "llm-twin", "unsloth", "trl", "sft", "lora"],
        "model-index": [
            {
                "name": "my-twin",
                "results": [
                    {
                        "task": {"type": "text-generation", "name": "Text Generation"},
                        "dataset": {"type": "held-out-rows", "name": "held-out rows of the training data"},
                        "metrics": [{"type": "loss", "name": "Eval loss, nats a token", "value": 1.25}],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("kind", "method", "library", "relation", "tags"),
    [
        ("adapter", "qlora", "peft", "adapter", {"lora", "qlora"}),
        ("model", "lora", "transformers", "finetune", {"lora"}),
        ("model", "full", "transformers", "finetune", set()),
        ("gguf", "lora", "gguf", "finetune", {"lora", "gguf"}),
    ],
)
def test_each_kind_has_its_library_and_relation(
    recorded_run: RecordedRun, kind: str, method: str, library: str, relation: str, tags: set[str]
) -> None:
    recorded_run.train["method"] = method
    found = yaml_of(recorded_run.card(kind))
    assert (found["library_name"], found["base_model"], found["base_model_relation"]) == (library, BASE, relation)
    assert set(found["tags"]) & {"lora", "qlora", "gguf"} == tags


def test_a_gguf_is_quantized_of_the_twin_and_never_of_the_base(recorded_run: RecordedRun) -> None:
    found = yaml_of(recorded_run.card("gguf", "me/my-twin-GGUF", merged_repo="me/my-twin"))
    assert (found["base_model"], found["base_model_relation"]) == ("me/my-twin", "quantized")


def test_a_quantised_file_claims_no_loss_that_nobody_measured(recorded_run: RecordedRun) -> None:
    assert not {"model-index", "model_name"} & set(yaml_of(recorded_run.card("gguf")))


def test_without_held_out_rows_there_is_no_result(recorded_run: RecordedRun) -> None:
    recorded_run.metrics = {"eval_loss": None, "base_eval_loss": None}
    card = recorded_run.card("adapter")
    assert "model-index" not in yaml_of(card)
    assert "No rows were held out" in card.text


@pytest.mark.parametrize("kind", ["adapter", "model", "gguf"])
def test_a_bundled_base_has_no_id_on_the_hub(bundled: RecordedRun, kind: str) -> None:
    found = yaml_of(bundled.card(kind))
    assert "base_model" not in found and "base_model_relation" not in found
    assert found["license"] == "apache-2.0"


def test_a_local_base_tells_its_licence_by_the_card_beside_it(recorded_run: RecordedRun, local_base: Any) -> None:
    recorded_run.base = local_base(
        "my-qwen", "---\nlicense: other\nlicense_name: qwen\nlicense_link: LICENSE\n---\n# Q\n"
    )
    found = yaml_of(recorded_run.card("adapter"))
    assert (found["license"], found["license_name"]) == ("other", "qwen")
    assert "base_model" not in found and "license_link" not in found  # the link was to a file in that folder


@pytest.mark.parametrize("card", [None, "# No metadata", "---\nlicense: [\n---\n", "---\n- a\n---\n"])
def test_a_base_that_tells_no_licence_gets_none(recorded_run: RecordedRun, local_base: Any, card: str | None) -> None:
    recorded_run.base = local_base("plain", card)
    made = recorded_run.card("adapter")
    assert "license" not in yaml_of(made)
    assert "could not be read" in made.text


def test_a_link_to_a_file_of_the_base_leads_to_that_commit(
    recorded_run: RecordedRun, hub_cards: dict[str, Any]
) -> None:
    hub_cards[BASE] = {"license": "other", "license_name": "fair", "license_link": "LICENSE.md"}
    found = yaml_of(recorded_run.card("model"))
    assert found["license_link"] == f"https://huggingface.co/{BASE}/blob/{SHA}/LICENSE.md"


@pytest.mark.parametrize(
    ("licence", "built"),
    [("llama3.1", "**Built with Llama**"), ("llama3", "**Built with Meta Llama 3**"), ("llama2", ""), ("mit", "")],
)
def test_llamas_licence_gets_its_words(
    recorded_run: RecordedRun, hub_cards: dict[str, Any], licence: str, built: str
) -> None:
    hub_cards[BASE] = {"license": licence}
    text = recorded_run.card("adapter").text
    assert built in text and ("Built with" in text) == bool(built)
    assert ("Copyright © Meta Platforms" in text) == licence.startswith("llama")


def test_a_local_llama_without_a_card_gets_them_by_its_name(recorded_run: RecordedRun, local_base: Any) -> None:
    recorded_run.base = local_base("Meta-Llama-3.1-8B")
    assert "**Built with Llama**" in recorded_run.card("adapter").text
    recorded_run.base = local_base("Llama-7B-something")
    assert "Built with" not in recorded_run.card("adapter").text


def test_the_hub_is_asked_for_a_card_once_and_its_silence_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.hf_api import DatasetInfo

    from twinctl.hub import client

    assert REAL_CARD_DATA("dataset", "me/rows", DATA_SHA) == {}  # HF_HUB_OFFLINE is set
    asked: list[dict[str, Any]] = []

    class Api:
        def repo_info(self, repo: str, **how: Any) -> DatasetInfo:
            asked.append({"repo": repo, **how})
            return DatasetInfo(id=repo, sha=DATA_SHA, tags=[], cardData={"license": "mit"})

    monkeypatch.setattr(client, "api", Api)
    assert REAL_CARD_DATA("dataset", "me/rows", DATA_SHA)["license"] == "mit"
    assert [(each["repo"], each["repo_type"], each["revision"]) for each in asked] == [("me/rows", "dataset", DATA_SHA)]


def test_one_data_set_on_the_hub_is_the_result_s(recorded_run: RecordedRun) -> None:
    recorded_run.sources = recorded_run.sources[:1]
    dataset = yaml_of(recorded_run.card("adapter"))["model-index"][0]["results"][0]["dataset"]
    assert (dataset["type"], dataset["revision"]) == ("mlabonne/llmtwin", DATA_SHA)


def test_the_language_is_said_where_every_source_of_the_author_says_it(recorded_run: RecordedRun) -> None:
    recorded_run.sources = [recorded_run.sources[0], recorded_run.sources[2]]
    assert yaml_of(recorded_run.card("adapter"))["language"] == ["en"]


def test_a_data_set_of_which_nothing_was_read_is_not_named(recorded_run: RecordedRun) -> None:
    recorded_run.sources[2] = (
        source("mlabonne/FineTome-Alpaca-100k", "general", read=0, samples=0),
        recorded_run.sources[2][1],
    )
    assert yaml_of(recorded_run.card("adapter"))["datasets"] == ["mlabonne/llmtwin"]


def test_a_base_that_moved_on_is_refused(recorded_run: RecordedRun) -> None:
    from twinctl.errors import UpstreamError
    from twinctl.publishing import render

    workspace, run = recorded_run.make()
    run.pins["model"] = BaseCheckpoint("x/y", repo="x/y", sha=SHA, files={"model.safetensors": "9" * 64}).stored()
    with pytest.raises(UpstreamError, match="another base model"):
        render(RunView(workspace, run), Kind.ADAPTER, None)
