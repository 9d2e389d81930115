"""Every failure says what happened, where, and what mends it; with its exit code, for people and for scripts.

The same command line is run twice: plainly (stderr only) and with --json (one document on stdout).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import make_model, rows, write_rows


@pytest.fixture
def fails(cli: Cli) -> Callable[..., None]:
    """Assert how a command line fails."""

    def check(code: int, name: str, words: list[Any], *, says: list[str], mend: list[str]) -> None:
        for_people = cli(*words)
        assert (for_people.code, for_people.out) == (code, ""), for_people
        assert "Traceback" not in for_people.err
        for_scripts = cli(*words, "--json")
        assert for_scripts.code == code
        error = for_scripts.document["error"]
        assert list(for_scripts.document) == ["schema", "error"]
        assert error["code"] == name
        assert [text for text in says if text not in error["message"]] == [], error
        assert [text for text in mend if text not in error["hint"]] == [], error
        assert f"error: {error['message']}\n  → {error['hint']}\n" in for_people.err

    return check


Fails = Callable[..., None]


def test_unknown_preset(fails: Fails) -> None:
    fails(3, "ConfigError", ["prepare", "--preset", "tyni"], says=["“tyni”"], mend=["twinllama, tiny"])


# The data


def test_missing_file_offers_the_near_one(fails: Fails, posts: Path, model: Path) -> None:
    words = ["prepare", "--preset", "tiny", "--model", model, "-d", "post.jsonl"]
    fails(3, "ConfigError", words, says=["no file post.jsonl"], mend=["did you mean posts.jsonl?"])


def test_missing_file_below_a_folder_that_is_there(fails: Fails, home: Path, model: Path) -> None:
    (home / "texts").mkdir()
    words = ["prepare", "--preset", "tiny", "--model", model, "-d", "texts/posts.txt"]
    fails(3, "ConfigError", words, says=["no file texts/posts.txt"], mend=["a file, a folder"])


def test_folder_without_anything_to_read(fails: Fails, home: Path, model: Path) -> None:
    (home / "texts").mkdir()
    words = ["prepare", "--preset", "tiny", "--model", model, "-d", "texts"]
    fails(3, "ConfigError", words, says=["texts holds nothing that can be read"], mend=[".jsonl", ".md"])
    (home / "texts/photo.jpg").touch()
    fails(3, "ConfigError", words, says=["texts holds nothing that can be read", "1 .jpg"], mend=[".jsonl", ".md"])


@pytest.mark.parametrize(
    ("line", "says", "mend"),
    [
        ('{"instruction": "cut', "posts.jsonl:4 is not JSON", "one JSON object a line"),
        ("[1, 2]", "posts.jsonl:4 is not a JSON object", '{"instruction"'),
        ('{"question": "a", "output": "b"}', "posts.jsonl:4 has no column “instruction”", "--map instruction=COLUMN"),
    ],
)
def test_bad_row_is_named_by_file_and_line(
    fails: Fails, home: Path, prepare: list[str], line: str, says: str, mend: str
) -> None:
    write_rows(home / "posts.jsonl", [*rows(2), "", line, *rows(2)])
    fails(3, "ConfigError", prepare, says=[says], mend=[mend])


def test_missing_column_lists_those_that_are_there(fails: Fails, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", [{"question": "Why?", "answer": "So."}])
    fails(3, "ConfigError", prepare, says=["columns there: question, answer"], mend=["--map instruction=COLUMN"])


def test_bad_map(fails: Fails, prepare: list[str]) -> None:
    fails(3, "ConfigError", [*prepare, "--map", "prompt"], says=["“prompt”"], mend=["--map instruction=question"])


def test_no_rows_left(fails: Fails, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", [{"instruction": " ", "output": "b"}, {"instruction": "a", "output": ""}])
    says = ["no rows are left", "2 read", "1 empty instruction", "1 empty output"]
    fails(3, "ConfigError", prepare, says=says, mend=["-d"])


def test_no_rows_left_because_all_are_held_out(fails: Fails, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", rows(1))
    says = ["no rows are left to train on: 1 read; held out: 1"]
    fails(3, "ConfigError", [*prepare, "--eval-fraction", "0.99"], says=says, mend=["--eval-fraction 0"])


def test_no_rows_left_because_they_are_too_long(fails: Fails, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", [{"instruction": "a", "output": "b " * 400}])
    fails(3, "ConfigError", prepare, says=["1 over max length"], mend=["--max-length", "--overlong split"])


def test_empty_file(fails: Fails, home: Path, prepare: list[str]) -> None:
    write_rows(home / "posts.jsonl", [])
    fails(3, "ConfigError", prepare, says=["no rows are left", "0 read"], mend=["-d"])


# The model


def test_model_that_is_neither_a_folder_nor_an_id(fails: Fails, posts: Path) -> None:
    words = ["prepare", "--preset", "tiny", "-d", "posts.jsonl", "--model"]
    for locator in ("./nowhere", "no-owner", "/nowhere/at/all"):
        fails(3, "ConfigError", [*words, locator], says=[locator], mend=["folder or a Hub id"])


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("config.json", "config.json is not there"),
        ("model.safetensors", "no *.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_model_folder_that_lacks_a_file(fails: Fails, home: Path, posts: Path, without: str, says: str) -> None:
    (make_model(home / "broken") / without).unlink()
    words = ["prepare", "--preset", "tiny", "-d", "posts.jsonl", "--model", "broken"]
    fails(3, "ConfigError", words, says=["broken", says], mend=[" "])


def test_tokenizer_without_eos(fails: Fails, home: Path, posts: Path) -> None:
    (make_model(home / "endless") / "tokenizer_config.json").write_text("{}")
    words = ["prepare", "--preset", "tiny", "-d", "posts.jsonl", "--model", "endless"]
    fails(3, "ConfigError", words, says=["names no EOS"], mend=["eos_token"])


def test_hub_model_without_the_hub(fails: Fails, posts: Path) -> None:
    began, words = time.monotonic(), ["prepare", "-d", "posts.jsonl", "--general", "0"]
    fails(7, "HubError", words, says=["meta-llama/Llama-3.1-8B", "HF_HUB_OFFLINE"], mend=["--model"])
    assert time.monotonic() - began < 10


def test_hub_data_without_the_hub(fails: Fails, model: Path) -> None:
    words = ["prepare", "--preset", "tiny", "--model", model, "-d", "someone/rows:train"]
    fails(7, "HubError", words, says=["someone/rows", "HF_HUB_OFFLINE"], mend=["local path"])


def test_model_that_changed_since_prepare(fails: Fails, home: Path, posts: Path, cli: Cli) -> None:
    folder = make_model(home / "mine")
    cli("prepare", "--preset", "tiny", "-d", "posts.jsonl", "--model", "mine").ok()
    (folder / "config.json").write_text("{}")
    fails(4, "UpstreamError", ["train"], says=["changed since prepare", "config.json"], mend=["twinctl prepare"])


def test_large_model_without_a_gpu_starts_no_worker(
    fails: Fails, home: Path, posts: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    make_model(home / "large", **shape, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256)
    cli("prepare", "--preset", "tiny", "-d", "posts.jsonl", "--model", "large").ok()
    for name in ("DRIVER_FILE", "WSL_DRIVER"):
        monkeypatch.setattr(f"twinctl.planning.device.{name}", home / "no-driver")
    monkeypatch.setattr("twinctl.pipeline.execute._start_worker", lambda *_: pytest.fail("a worker was started"))
    fails(6, "EngineError", ["train"], says=["no GPU", "8.0 billion"], mend=["--device cpu"])
    assert cli("status").ok().out.count("complete") == 1


# What an earlier phase makes


@pytest.mark.parametrize(
    "words", [["train"], ["chat", "-p", "hi"], ["export"], ["push", "me/twin", "--dry-run"], ["path"], ["path", "gguf"]]
)
def test_nothing_is_prepared(fails: Fails, words: list[str]) -> None:
    fails(4, "UpstreamError", words, says=["nothing is prepared in .twinctl"], mend=["twinctl prepare"])


def test_nothing_to_inspect(fails: Fails) -> None:
    fails(4, "UpstreamError", ["inspect", "train"], says=["nothing is prepared"], mend=["twinctl prepare"])


@pytest.mark.parametrize(
    ("words", "kind", "command"),
    [
        (["chat", "-p", "hi"], "trained model", "twinctl train --run tiny"),
        (["export"], "adapter", "twinctl train --run tiny"),
        (["export", "--adapter"], "adapter", "twinctl train --run tiny"),
        (["push", "me/twin", "--dry-run"], "adapter", "twinctl train --run tiny"),
        (["push", "me/twin", "--gguf", "--dry-run"], "adapter", "twinctl train --run tiny"),
        (["path", "adapter"], "adapter", "twinctl train --run tiny"),
    ],
)
def test_upstream_is_missing(fails: Fails, prepared: object, words: list[str], kind: str, command: str) -> None:
    fails(4, "UpstreamError", words, says=[f"run “tiny” has no {kind} yet"], mend=[command])


def test_inspect_of_a_phase_that_was_not_begun(fails: Fails, prepared: object) -> None:
    fails(4, "UpstreamError", ["inspect", "train"], says=["has no train"], mend=["there: prepare"])


def test_unknown_run(fails: Fails, prepared: object) -> None:
    for words in (["train"], ["status"], ["path"], ["inspect", "prepare"]):
        fails(4, "UpstreamError", [*words, "--run", "other"], says=["“other”", "runs: tiny"], mend=["--run other"])
    fails(4, "UpstreamError", ["runs", "use", "other"], says=["“other”", "runs: tiny"], mend=["--run other"])


def test_flag_that_contradicts_the_run(fails: Fails, prepared: object, model: Path) -> None:
    line = "twinctl prepare --preset twinllama --run twinllama"
    fails(4, "UpstreamError", ["train", "--preset", "twinllama"], says=["“tiny”", "twinllama"], mend=[line])
    line = "twinctl prepare --run tiny --model ./other -d posts.jsonl"
    fails(4, "UpstreamError", ["train", "--model", "./other"], says=["“tiny”", str(model)], mend=[line])


def test_edited_tokens_are_not_trained_on(fails: Fails, prepared: dict[str, Any]) -> None:
    path = Path(prepared["path"]) / "train.arrow"
    path.write_bytes(path.read_bytes()[::-1])
    fails(4, "UpstreamError", ["train"], says=[str(path), "not the file that was written"], mend=["twinctl prepare"])


# The settings


def test_config_file_that_is_not_toml(fails: Fails, home: Path) -> None:
    (home / "twinctl.toml").write_text('preset = "tiny"\n[train\nrank = 3\n')
    for words in (["prepare"], ["prepare", "--preset", "tiny"]):
        fails(3, "ConfigError", words, says=["twinctl.toml", "line 2"], mend=["fix twinctl.toml", "twinctl init"])


@pytest.mark.parametrize(
    ("text", "says", "mend"),
    [
        ("[trian]\nrank = 3\n", "unknown key “trian”", "did you mean “train”?"),
        ("[prepare]\nmax_lenght = 64\n", "[prepare] has no field “max_lenght”", "did you mean “max_length”?"),
        ("[prepare]\nwords = 64\n", "[prepare] has no field “words”", "known: template, max_length"),
        ("prepare = 3\n", "prepare must be a section", "write [prepare]"),
    ],
)
def test_unknown_key_in_the_config_file(
    fails: Fails, home: Path, prepare: list[str], text: str, says: str, mend: str
) -> None:
    (home / "twinctl.toml").write_text(text)
    fails(3, "ConfigError", prepare, says=["twinctl.toml", says], mend=[mend])


def test_bad_value_is_named_with_its_origin(
    fails: Fails, home: Path, prepare: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says = ["prepare.max_length = 3", "from --max-length", "greater than or equal to 16"]
    fails(3, "ConfigError", [*prepare, "--max-length", "3"], says=says, mend=["give --max-length another value"])
    (home / "twinctl.toml").write_text("[prepare]\nmax_length = 4\n")
    says = ["prepare.max_length = 4", "from twinctl.toml"]
    fails(3, "ConfigError", prepare, says=says, mend=["change max_length below [prepare] in twinctl.toml"])
    monkeypatch.setenv("TWINCTL_PREPARE_MAX_LENGTH", "long")
    says = ["prepare.max_length = 'long'", "from TWINCTL_PREPARE_MAX_LENGTH"]
    fails(3, "ConfigError", prepare, says=says, mend=["TWINCTL_PREPARE_MAX_LENGTH"])


def test_bad_number_of_general_rows_is_named_by_its_flag(fails: Fails, prepare: list[str]) -> None:
    says = ["prepare.general_rows = -1", "from --general)", "greater than or equal to 0"]
    fails(3, "ConfigError", [*prepare, "--general", "-1"], says=says, mend=["give --general another value"])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('source = "posts.jsonl"\nlimit = 0', ["prepare.data = 0", "greater than or equal to 1"]),
        ('source = "posts.jsonl"\nwieght = 2', ["prepare.data", "Extra inputs are not permitted"]),
        ("limit = 3", ["prepare.data", "Field required"]),
    ],
)
def test_bad_table_of_a_source(fails: Fails, home: Path, prepare: list[str], table: str, says: list[str]) -> None:
    (home / "twinctl.toml").write_text(f"[[prepare.data]]\n{table}\n")
    own = prepare[: prepare.index("-d")]
    fails(3, "ConfigError", own, says=[*says, "from twinctl.toml"], mend=["change data below [prepare]"])


@pytest.mark.parametrize(
    ("words", "says", "mend"),
    [
        (["--rank", "0"], ["train.rank = 0", "from --rank"], "--rank"),
        (["--lr", "-1"], ["train.learning_rate = -1", "from --lr"], "--lr"),
        (["--method", "dora"], ["'dora'", "'lora', 'qlora' or 'full'"], "--method"),
        (["--batch-size", "6", "--micro-batch", "4"], ["batch_size 6", "micro_batch 4"], "--batch-size or --micro"),
        (["--tracking", "comet"], ["COMET_API_KEY"], ".env"),
    ],
)
def test_bad_training_setting(fails: Fails, prepared: object, words: list[str], says: list[str], mend: str) -> None:
    fails(3, "ConfigError", ["train", *words], says=says, mend=[mend])


def test_bad_quantisation(fails: Fails, trained: object) -> None:
    says = ["export.quant", "'q5'", "from --quant", "'q8_0'"]
    fails(3, "ConfigError", ["export", "-q", "q5"], says=says, mend=["--quant"])


def test_bad_run_name(fails: Fails, prepare: list[str]) -> None:
    fails(2, "UsageError", [*prepare, "--run", "../x"], says=["“../x” cannot name a run"], mend=["letters"])


def test_unknown_kind_of_path(fails: Fails, prepared: object) -> None:
    fails(2, "UsageError", ["path", "weights"], says=["“weights”"], mend=["tokens, adapter, model, model-4bit, gguf"])


@pytest.mark.parametrize("repo", ["twin", "me/", "me/my twin", "me/a--b", "a/b/c", "https://huggingface.co/me/twin"])
def test_bad_repository_name(fails: Fails, repo: str) -> None:
    fails(2, "UsageError", ["push", repo, "--dry-run"], says=[f"“{repo}”"], mend=["OWNER/NAME"])


# The workspace


@pytest.mark.parametrize("place", ["/proc/twinctl", "/dev/null/twinctl", "posts.jsonl"])
def test_unwritable_workspace(fails: Fails, prepare: list[str], place: str) -> None:
    says, mend = [f"cannot make a workspace in {place}"], ["--workspace", "TWINCTL_WORKSPACE"]
    fails(3, "ConfigError", [*prepare, "-w", place], says=says, mend=mend)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "No space left on device")])
def test_disk_that_fails_later_is_no_bug(
    fails: Fails, prepare: list[str], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise type(error)(error.errno, error.strerror, str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    monkeypatch.setattr("twinctl.workspace.workspace.Workspace.create", lambda self: None)
    fails(3, "ConfigError", prepare, says=[".twinctl/artifacts", error.strerror], mend=["--workspace DIR"])


def test_newer_layout(fails: Fails, home: Path, prepare: list[str]) -> None:
    (home / ".twinctl").mkdir()
    (home / ".twinctl/workspace.json").write_text(json.dumps({"layout": 2}))
    for words in (prepare, ["status"], ["train"]):
        fails(4, "UpstreamError", words, says=["layout 2", "layout 1"], mend=["update twinctl", "--workspace"])


def test_damaged_record_is_named(fails: Fails, home: Path, prepared: dict[str, Any]) -> None:
    record = Path(prepared["path"]).parent / "record.json"
    record.write_text(record.read_text()[:50])
    for words in (["train"], ["inspect", "prepare"]):
        fails(4, "UpstreamError", words, says=[str(record), "damaged"], mend=[f"mv {record} {record}.bad"])


def test_bug_is_one_line_with_its_traceback_on_request(cli: Cli, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("wires crossed")

    monkeypatch.setattr("twinctl.cli.session.Workspace.open", broken)
    fails(1, "TwinctlError", ["status"], says=["RuntimeError: wires crossed"], mend=["a bug in twinctl", "--debug"])
    assert "Traceback" in cli("status", "--debug").err
