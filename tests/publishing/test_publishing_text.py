"""What people read: sections, commands, pictures; and that nobody's text can break it or give anybody away."""

from __future__ import annotations

import ast
import json
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.support.written_records import SHA, RecordedRun, source
from twinctl.bundled import BASE
from twinctl.data.template import packaged
from twinctl.errors import UpstreamError, UsageError
from twinctl.ollama.chat_format import read_chat_format
from twinctl.ollama.modelfile import check_modelfile, commands
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.publishing import gguf_results, render
from twinctl.publishing.markdown import code, fence, plain, quote, table

HOSTILE = [
    "](http://evil) <script>alert(1)</script>",
    "a | b | c\n\n# A heading\n---\n",
    "<!-- twinctl:end sample --> after",
    "```\n# out of the block\n```",
    "*b* _i_ ~~s~~ `c` $$x$$ \\\\(y\\\\) www.evil.example @somebody :smile: https://evil.example",
    "1. a list",
    "- a list",
    "\u202eturned round\u2066 and\x00nul\x1b[31m",
    "&lt;b&gt; &#60;i&#62;",
    "{{ .System }} {% raw %}",
]


def blocks(text: str, language: str) -> list[str]:
    """The card's blocks of code in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    return [block for tag, block in found if tag == language]


def html(text: str) -> str:
    """As GitHub's flavour shows it, with HTML let through."""
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)


@pytest.mark.parametrize("kind", ["adapter", "model", "gguf"])
def test_every_section_is_there_between_its_marks(recorded_run: RecordedRun, kind: str) -> None:
    text = recorded_run.card(kind).text
    wanted = ["about", "use", "sample", "data", "recipe", "loss", "evaluation", "limits", "provenance"]
    wanted.insert(7, "parity") if kind != "adapter" else None
    assert re.findall(r"<!-- twinctl:begin (\S+) -->", text) == wanted
    assert re.findall(r"<!-- twinctl:end (\S+) -->", text) == wanted


def test_it_tells_the_recipe_and_what_happened(recorded_run: RecordedRun) -> None:
    text = recorded_run.card("adapter").text
    for line in ("| rank | `24` |", "| alpha | `48` |", "| learning rate | `0.0002` |", "| rslora | yes |"):
        assert line in text
    assert "| data: max length | `2048` |" in text and "max steps" not in text and "choose every" not in text
    assert "on NVIDIA H200, in `bfloat16`, with `adamw_8bit`, micro-batch 2 × 8, samples packed: 40 steps" in text


def test_full_fine_tuning_has_no_lora_values(recorded_run: RecordedRun) -> None:
    recorded_run.train["method"] = "full"
    text = recorded_run.card("model").text
    assert "| rank |" not in text and "| method | every weight |" in text and "Parity" not in text


def test_the_loss_is_told_before_and_after(recorded_run: RecordedRun) -> None:
    text = recorded_run.card("adapter").text
    assert "|  | base | twin |" in text and "| loss, nats a token | 2.5 | 1.25 |" in text
    assert "| perplexity | 12.18 | 3.49 |" in text


def test_sources_are_told_with_licence_and_counts_and_local_ones_by_kind_only(recorded_run: RecordedRun) -> None:
    rows = [line for line in recorded_run.card("adapter").text.splitlines() if "| 120 |" in line]
    assert "huggingface.co/datasets/mlabonne/llmtwin" in rows[0] and "cc-by-4.0" in rows[0]
    assert rows[1].startswith("| local files (1 × .jsonl, 1 × .md) | the author's own; not published |")
    assert "not stated | general | 120 | 95 | 0 | 9,000 | 20 |" in rows[2] and "train&#91;" not in rows[2]


def test_no_name_of_a_person_a_file_or_a_machine_is_in_it(
    recorded_run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    recorded_run.answers = [{"prompt": "What is hf_secretsecretsecret?", "text": "It is nothing.", "finish": "stop"}]
    recorded_run.sources.append(
        (source("/home/jane/letters to Bob.jsonl"), {"files": [["f" * 64, "jsonl", "Dear Bob"]]})
    )
    for kind in ("adapter", "model", "gguf"):
        card = recorded_run.card(kind)
        said = card.text + "".join(str(content) for content in card.files.values())
        for private in ("jane", "Bob", "diary", "letters", "/home", "4711", "secretsecret", str(recorded_run.root)):
            assert private not in said, private


# The sample


def test_the_sample_is_the_last_of_training(recorded_run: RecordedRun) -> None:
    text = recorded_run.card("adapter").text
    assert "> What is a harbour for?" in text and "> For ships that are tired, dear heart." in text
    assert "early answer" not in text


@pytest.mark.parametrize(
    "private",
    ["Write to jane@example.org", "See https://x.example", "Call 0171 555 01 23", "In /home/jane", "x" * 400, " "],
)
def test_a_prompt_that_gives_something_away_is_passed_over(recorded_run: RecordedRun, private: str) -> None:
    recorded_run.answers = [
        {"prompt": private, "text": "Yes.", "finish": "stop"},
        {**recorded_run.answers[0], "finish": "length"},
    ]
    assert "> What is a harbour for?" in recorded_run.card("adapter").text
    recorded_run.answers = recorded_run.answers[:1]
    assert "A sample" not in recorded_run.card("adapter").text


def test_no_sample_where_none_is_wanted_or_a_prompt_would_be_the_author_s_own_text(recorded_run: RecordedRun) -> None:
    assert "A sample" not in recorded_run.card("adapter", sample=False).text
    recorded_run.prepare["text_as"] = "raw"
    assert "A sample" not in recorded_run.card("adapter").text


# Commands


@pytest.mark.parametrize("kind", ["adapter", "model"])
@pytest.mark.parametrize("where", ["hub", "bundled", "local"])
def test_the_python_compiles_and_names_repository_and_base(
    recorded_run: RecordedRun, local_base: Any, kind: str, where: str
) -> None:
    if where != "hub":
        recorded_run.base = local_base("my-qwen") if where == "local" else recorded_run.base
    if where == "bundled":
        from twinctl.pipeline.base_checkpoint import BUNDLED, BaseCheckpoint

        recorded_run.base = BaseCheckpoint(BUNDLED, files={"model.safetensors": "c" * 64})
    snippets = blocks(recorded_run.card(kind).text, "python")
    assert snippets
    for snippet in snippets:
        ast.parse(snippet)
    assert '"me/my-twin"' in snippets[0]
    base = {"hub": f'"meta-llama/Llama-3.1-8B", revision="{SHA}"', "bundled": "BASE", "local": '"FOLDER-OF-THE-BASE"'}
    assert (base[where] in snippets[0]) == (kind == "adapter")


def test_vllm_gets_the_adapter_s_rank_the_base_s_commit_and_the_twin_s_tokenizer(recorded_run: RecordedRun) -> None:
    shell = next(block for block in blocks(recorded_run.card("adapter").text, "bash") if "vllm" in block)
    assert f"vllm serve meta-llama/Llama-3.1-8B --revision {SHA} \\\n" in shell
    assert "--tokenizer me/my-twin --tokenizer-revision main" in shell
    assert "--enable-lora --max-lora-rank 32 --lora-modules twin=me/my-twin" in shell
    body = re.search(r"-d '(.*)'", shell)
    assert body and json.loads(body[1])["model"] == "twin"


@pytest.mark.parametrize("change", [{"dora": True}, {"bias": "all"}, {"rank": 1024}])
def test_vllm_is_not_offered_what_it_does_not_load(recorded_run: RecordedRun, change: dict[str, Any]) -> None:
    recorded_run.train |= change
    text = recorded_run.card("adapter").text
    assert "vllm serve" not in text and "vLLM does not load" in text


def test_every_gguf_that_a_command_names_is_among_what_is_sent(recorded_run: RecordedRun) -> None:
    workspace, run = recorded_run.make()
    text = render(RunView(workspace, run), Kind.GGUF, "me/my-twin-GGUF").text
    sent = {entry.name for result in gguf_results(RunView(workspace, run)) for entry in result.record.files}
    sent.remove("Modelfile")
    named = set(re.findall(r"-hff (\S+)", text)) | set(re.findall(r"hf\.co/me/my-twin-GGUF:(\S+)", text))
    assert named == sent == {"me-q8_0.gguf", "me-q4_k_m.gguf"}


def test_only_what_is_sent_is_told_of(recorded_run: RecordedRun) -> None:
    workspace, run = recorded_run.make()
    one = [found for found in gguf_results(RunView(workspace, run)) if found.record.recipe["quant"] == "q8_0"]
    text = render(RunView(workspace, run), Kind.GGUF, "me/my-twin-GGUF", results=one).text
    assert "me-q8_0.gguf" in text and "q4_k_m" not in text


def test_gguf_of_an_older_model_is_not_among_them(recorded_run: RecordedRun) -> None:
    workspace, run = recorded_run.make()
    path = workspace.artifact(run.slots["gguf-q8_0"]).path / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inputs": {"model": "older"}}))
    assert [result.record.recipe["quant"] for result in gguf_results(RunView(workspace, run))] == ["q4_k_m"]


@pytest.mark.parametrize("template", ["alpaca", "model"])
def test_ollama_finds_what_the_modelfile_says_beside_a_gguf(recorded_run: RecordedRun, template: str) -> None:
    recorded_run.prepare["template"] = template
    card = recorded_run.card("gguf")
    assert card.files["template"] == b"### Instruction:\n{{ .Content }}"
    assert json.loads(card.files["params"]) == {"stop": ["<|end_of_text|>"], "num_ctx": 2048}
    assert "ollama run hf.co/me/my-twin:me-q8_0.gguf" in card.text and "`template` and `params` here" in card.text


def test_a_gguf_without_a_modelfile_has_no_files_for_ollama_and_the_card_says_so(recorded_run: RecordedRun) -> None:
    recorded_run.modelfile = None
    card = recorded_run.card("gguf")
    assert set(card.files) == {"loss_curve.png"}
    assert "There is no Modelfile for this twin" in card.text and "ollama run" not in card.text


def tokenizer_files(template: str) -> dict[str, str]:
    """The bundled base's, with a chat template."""
    files = {name: (BASE / name).read_text() for name in ("config.json", "tokenizer.json", "tokenizer_config.json")}
    return {**files, "chat_template.jinja": template}


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_the_modelfile_of_a_card_writes_the_prompts_of_training(
    recorded_run: RecordedRun, kind: str, tmp_path: Path
) -> None:
    recorded_run.tokenizer = tokenizer_files(packaged("alpaca"))
    text = next(block for block in blocks(recorded_run.card(kind).text, "") if "TEMPLATE" in block)
    for name, content in recorded_run.tokenizer.items():
        (tmp_path / name).write_text(content)
    assert check_modelfile(text, read_chat_format(tmp_path)) > 100
    assert dict(commands(text))["from"] == "./twin-q8_0.gguf" and dict(commands(text))["num_ctx"] == "2048"


@pytest.mark.parametrize("template", ["{{ messages[0].content | upper }}{{ eos_token }}", "dated", None])
def test_a_template_that_ollama_cannot_follow_is_said(recorded_run: RecordedRun, template: str | None) -> None:
    dated = packaged("chatml") + "{%- set today = strftime_now('%Y') -%}"  # another card each year
    recorded_run.tokenizer = tokenizer_files(dated if template == "dated" else template) if template else {}
    text = recorded_run.card("model").text
    assert "There is no Modelfile for this twin" in text and "ollama create" not in text and "llama-cli" in text


def test_without_a_repository_the_commands_say_so(recorded_run: RecordedRun) -> None:
    text = recorded_run.card("model", None).text
    assert "vllm serve OWNER/NAME" in text and "\n# me\n" in text


@pytest.mark.parametrize("name", ["me", "me/my twin", "me/`x`", 'me/a"b', "../x/y"])
def test_a_name_that_no_repository_has_is_refused(recorded_run: RecordedRun, name: str) -> None:
    with pytest.raises(UsageError):
        recorded_run.card("adapter", name)


# Parity


def test_the_proofs_are_a_table_and_what_was_not_proved_says_so(recorded_run: RecordedRun) -> None:
    deep = {"checks": {"distributions": {"kl": 0.00213, "top1": 0.987}}}
    recorded_run.proofs = {"q8_0": {"verified": True, "proof": {"kl": 2.04e-5, "top1": 0.9991}}}
    text = recorded_run.card("gguf").text
    assert "| `me-q8_0.gguf` | 0.0 MB | yes | 2e-05 | 99.91% |" in text
    assert "| `me-q4_k_m.gguf` | 0.0 MB | no | – | – |" in text and "What is not verified" in text
    recorded_run.proofs["q4_k_m"] = {"verified": True, "proof": deep}
    text = recorded_run.card("gguf").text
    assert "| yes | 0.0021 | 98.70% |" in text and "What is not verified" not in text


# The picture


def test_the_curve_is_a_png_that_decodes_and_is_the_same_each_time(recorded_run: RecordedRun) -> None:
    from PIL import Image

    card = recorded_run.card("adapter")
    picture = Image.open(BytesIO(card.files["loss_curve.png"]))
    picture.load()
    assert picture.size == (960, 480) and len(picture.convert("RGB").getcolors(1 << 20) or ()) > 5
    assert "(loss_curve.png)" in card.text
    assert recorded_run.card("adapter") == card


def test_odd_losses_are_drawn_too() -> None:
    from twinctl.publishing.loss_plot import loss_curve

    for losses, evaluations in (
        ([(1, 0.0), (2, 0.0)], {}),
        ([(1, float("nan")), (2, 1.0), (3, float("inf"))], {0: 2.0}),
        ([(step, 1e6 if step == 1 else 1.0) for step in range(1, 5000)], {0: 1.5}),
        ([(5, 1e-7), (6, 2e-7)], {6: 1e-7}),
    ):
        png = loss_curve(losses, evaluations)
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        size = struct.unpack(">I", png[8:12])[0]
        assert zlib.crc32(png[12 : 16 + size]) == struct.unpack(">I", png[16 + size : 20 + size])[0]


def test_a_training_of_one_step_has_no_curve(recorded_run: RecordedRun) -> None:
    workspace, run = recorded_run.make()
    events = workspace.artifact(run.slots["train"]).path / "events.jsonl"
    events.write_text('{"event": "step", "step": 1, "loss": 1.0}\n')
    card = render(RunView(workspace, run), Kind.ADAPTER, None)
    assert card.files == {} and "loss_curve" not in card.text


# Foreign text


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_shows_as_it_is_wherever_it_stands(text: str) -> None:
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    for before in ("", "> ", "word "):
        page = html(before + plain(text))
        inside = re.sub(r"</?(p|blockquote)>", "", page)
        assert "<" not in inside and before.strip("> ") in inside
    cells = html(table(["a", "b"], [[plain(text), "x"]]))
    assert cells.count("<td>") == 2
    assert "\n" not in plain(text) and "\x00" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_quotes_and_code_hold_what_they_hold(text: str) -> None:
    assert re.sub(r"</?(p|blockquote)>|\s", "", html(quote(text, longest=500))).count("<") == 0
    assert html(fence(text)).count("<pre>") == html(fence(text)).count("</pre>") == 1
    assert html(f"| a |\n| --- |\n| {code(text)} |").count("<td>") <= 1


def test_a_long_answer_is_cut() -> None:
    assert quote("a" * 50, longest=10) == "> " + "a" * 10 + " …"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_samples_leave_the_card_whole(recorded_run: RecordedRun, local_base: Any, text: str) -> None:
    plainly = html(recorded_run.card("adapter").text)
    recorded_run.base = local_base(re.sub(r"[/\x00]", "", text).strip()[:60], "---\nlicense: other\n---\n")
    recorded_run.answers = [{"prompt": re.sub(r"https?:|www\.|\S@", "", text), "text": text, "finish": "stop"}]
    recorded_run.sources = [(source(text), {"files": [["f" * 64, text, text]]}), *recorded_run.sources]
    made = recorded_run.card("adapter").text
    page = html(made)
    for mark in ("<h1>", "<h2>", "<h3>", "<script", "<li>"):
        assert page.count(mark) == plainly.count(mark) - (mark == "<h2>" and "## A sample" not in made)
    assert made.count("<!--") == made.count("-->") == 2 * made.count("twinctl:begin") + 1


def test_of_a_twin_brought_from_the_hub_no_more_is_told_than_is_known(recorded_run: RecordedRun) -> None:
    recorded_run.sources = []
    workspace, run = recorded_run.make()
    path = workspace.artifact(run.slots["train"]).path / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "metrics": {"pulled": {"repo": "me/x"}}}))
    text = render(RunView(workspace, run), Kind.ADAPTER, None).text
    assert "Its sources are not known here" in text and "Evaluation" not in text and "model-index" not in text


def test_what_a_card_tells_of_must_be_there(recorded_run: RecordedRun) -> None:
    workspace, run = recorded_run.make()
    (workspace.artifact(run.slots["prepare"]).path / "record.json").unlink()
    with pytest.raises(UpstreamError, match="not there any more"):
        render(RunView(workspace, run), Kind.ADAPTER, None)
