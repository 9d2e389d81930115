"""Another template, tokenizer or model: another result, or the same."""

from __future__ import annotations

from pathlib import Path

from tests.support.audit import add_special, prepared_from
from tests.support.commands import Cli
from tests.support.prepared import Prepare
from tests.support.stand_ins import make_model, rows
from tests.support.tokenizers import EOS


def _reasons(cli: Cli) -> list[str]:
    found: list[str] = cli("status", "--json").ok().document["runs"][0]["phases"][0]["reasons"]
    return found


def test_another_template_is_another_result_and_status_names_it(
    cli: Cli, home: Path, prepares: Prepare, model: Path
) -> None:
    own = home / "own"
    make_model(own)
    add_special(own, "<|im_start|>", "<|im_end|>")
    before = prepared_from(prepares, home, rows(6), "--model", str(own))
    (home / "twinctl.toml").write_text('[prepare]\ntemplate = "chatml"\n')
    assert _reasons(cli) == ["prepare.template alpaca → chatml"]
    after = prepares("-d", "posts.jsonl", "--model", str(own))
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert all(text.endswith("<|im_end|>") for text in after.texts)
    assert _reasons(cli) == []


def test_a_template_that_the_tokenizer_cannot_write_is_refused(cli: Cli, prepare: list[str]) -> None:
    error = cli(*prepare, "--template", "chatml", "--json")
    assert error.code == 3
    assert error.document["error"]["message"] == "this model's tokenizer has no <|im_start|>"
    assert "--template" in error.document["error"]["hint"]


def test_the_models_own_template_is_part_of_the_identity(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    text = "{%- for message in messages -%}{{ message['content'] + eos_token }}{%- endfor -%}"
    (own / "chat_template.jinja").write_text(text)
    words = ["--model", str(own), "--template", "model"]
    before = prepared_from(prepares, home, rows(6), *words)
    assert before.texts[0].startswith("What is harbour") and before.texts[0].count(EOS) == 2
    assert _reasons(cli) == []
    (own / "chat_template.jinja").write_text(text.replace("{{ ", "{{ '# ' + "))
    assert _reasons(cli) == ["the model's chat_template.jinja changed"]
    after = prepares("-d", "posts.jsonl", *words)
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert after.texts[0].startswith("# What is harbour")


def test_another_tokenizer_is_another_result_and_status_names_it(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    before = prepared_from(prepares, home, rows(6), "--model", str(own))
    assert _reasons(cli) == []
    add_special(own, "<|new|>")
    assert _reasons(cli) == ["the model's tokenizer.json changed"]
    after = prepares("-d", "posts.jsonl", "--model", str(own))
    assert (after.document["cached"], after.texts) == (False, before.texts)
    assert after.document["fingerprint"] != before.document["fingerprint"]
    assert _reasons(cli) == []


def test_other_weights_leave_the_tokens_as_they_are(cli: Cli, home: Path, prepares: Prepare) -> None:
    own = home / "own"
    make_model(own)
    before = prepared_from(prepares, home, rows(6), "--model", str(own))
    with open(own / "model.safetensors", "ab") as file:
        file.write(b" ")
    assert _reasons(cli) == []
    assert prepares("-d", "posts.jsonl", "--model", str(own)).document == {**before.document, "cached": True}
