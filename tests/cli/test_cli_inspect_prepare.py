"""inspect prepare: samples as the model will see them, what was dropped, and what the whole comes to."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.commands import Cli
from tests.support.prepared import Prepare, Prepared
from tests.support.stand_ins import rows, write_rows
from tests.support.tokenizers import BOS, EOS

Inspect = Callable[..., dict[str, Any]]


@pytest.fixture
def mixed_sources(prepares: Prepare, home: Path) -> Prepared:
    """Rows, writing and general rows, with some to drop; answers alone are learnt."""
    (home / "notes").mkdir()
    (home / "notes/fog.md").write_text("# Fog\n\n## Bell\n\nThe bell [red]rings[/red] in fog, “always”.\n")
    bad = [{"instruction": " ", "output": "b"}, {"instruction": "Long?", "output": "word " * 90}, *rows(1)]
    write_rows(home / "posts.jsonl", [*rows(20), *bad])
    write_rows(home / "general.jsonl", rows(12, "moon"))
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["general.jsonl"]\nmax_length = 300\n')
    return prepares("-d", "posts.jsonl", "-d", "notes", "--loss", "completion")


@pytest.fixture
def inspect(cli: Cli) -> Inspect:
    """The document of `inspect prepare` with these words."""
    return lambda *words: cli("inspect", "prepare", *words, "--json").ok().document


def _sections(text: str) -> dict[str, list[list[str]]]:
    """The lines below each title, in cells."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines()[1:]:
        if line and not line.startswith(" "):
            title = line
        elif line:
            found.setdefault(title, []).append(re.split(r"\s{2,}", line.strip()))
    return found


# The whole


def test_each_source_has_its_figures(cli: Cli, mixed_sources: Prepared) -> None:
    (head, *lines) = _sections(cli("inspect", "prepare").ok().out)["sources"]
    found = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert list(found) == ["posts.jsonl", "notes", "general.jsonl"]
    for source in mixed_sources.metrics["sources"]:
        shown = found[source["name"]]
        assert shown["role"] == source["role"]
        figures = [int(shown[name].replace(",", "")) for name in ("read", "samples", "held out", "tokens")]
        assert figures == [source["read"], source["samples"], source["eval"], source["tokens"]]
    assert found["posts.jsonl"]["dropped"] == "1 duplicate, 1 empty instruction, 1 over max length"
    assert (found["notes"]["dropped"], found["notes"]["cleaned"]) == ("–", "–")


def test_the_histogram_counts_every_training_sample_once(cli: Cli, mixed_sources: Prepared, inspect: Inspect) -> None:
    bars = _sections(cli("inspect", "prepare").ok().out)["lengths (tokens, training samples)"]
    counts = {tuple(map(int, bar[0].replace(",", "").split("–"))): int(bar[1]) for bar in bars}
    lengths = [len(sample.ids) for sample in mixed_sources.side("train")]
    assert sum(counts.values()) == len(lengths) == mixed_sources.metrics["train_rows"]
    assert counts == {(low, high): sum(low <= length <= high for length in lengths) for low, high in counts}
    assert (min(low for low, _ in counts), max(high for _, high in counts)) == (1, 300)
    assert [bar for bar in bars if (int(bar[1]) > 0) != (len(bar) > 2)] == []
    histogram = inspect()["phases"][0]["audit"]["histogram"]
    assert histogram["counts"] == list(counts.values())


def test_packing_and_steps_are_told(cli: Cli, mixed_sources: Prepared, inspect: Inspect) -> None:
    sections = _sections(cli("inspect", "prepare").ok().out)
    rows_, tokens = mixed_sources.metrics["packed_rows"], sum(len(sample.ids) for sample in mixed_sources.side("train"))
    learnt = mixed_sources.metrics["trained_tokens"]
    assert sections["packing"][0][0] == (
        f"{rows_} rows of 300, {tokens / rows_ / 300:.1%} full; {learnt:,} tokens learnt an epoch"
    )
    an_epoch = -(-rows_ // 4)
    assert sections["training"] == [[f"{an_epoch} steps an epoch, {3 * an_epoch} in all at a batch of 4"]]
    training = {"steps": 3 * an_epoch, "steps_per_epoch": an_epoch, "batch_size": 4}
    assert inspect()["phases"][0]["training"] == mixed_sources.document["training"] == training


def test_the_json_is_complete(mixed_sources: Prepared, inspect: Inspect) -> None:
    (phase,) = inspect()["phases"]
    assert phase["record"]["metrics"] == mixed_sources.metrics
    audit = phase["audit"]
    assert set(audit) == {"examples", "histogram", "packing", "sources"}
    assert audit["sources"] == mixed_sources.metrics["sources"]
    assert audit["packing"]["rows"] == mixed_sources.metrics["packed_rows"]
    assert {each["reason"] for each in audit["examples"]} == set(mixed_sources.metrics["rows_dropped"])


# Samples


def test_samples_without_colour_show_what_is_masked_and_special(cli: Cli, mixed_sources: Prepared) -> None:
    shown = cli("inspect", "prepare", "--source", "notes").ok().out
    (sample,) = [sample for sample in mixed_sources.samples if sample.source == "notes"]
    asked, answer = sample.text.split("### Response:\n")
    assert answer == f"The bell [red]rings[/red] in fog, “always”.{EOS}"
    assert sample.learnt == [answer]
    head, text = shown.split("\n", 1)
    assert re.fullmatch(rf"── fog\.md#1  author  {sample.split}  \d+ tokens, \d+ learnt, the rest ⟦masked⟧", head)
    assert text == f"⟦{asked}### Response:\n⟧{answer}\n\n"
    assert text.startswith(f"⟦{BOS}Below is")


def test_a_sample_of_which_all_is_learnt_has_no_brackets(cli: Cli, prepare: list[str]) -> None:
    cli(*prepare).ok()
    shown = cli("inspect", "prepare", "--rows", "1").ok().out
    assert re.match(r"── posts\.jsonl:\d+  author  train  \d+ tokens, all learnt\n<\|begin_of_text\|>Below", shown)
    assert shown.endswith(f"{EOS}\n\n")
    assert "⟦" not in shown


def test_samples_are_taken_from_all_over(mixed_sources: Prepared, inspect: Inspect) -> None:
    for count in (1, 3, 7):
        places = [(each["split"], each["place"]) for each in inspect("--rows", count)["samples"]]
        assert len(set(places)) == len(places) == count
    assert {each["role"] for each in inspect("--rows", "3")["samples"]} == {"author", "general"}
    every = inspect("--rows", "1000")["samples"]
    assert [each["text"] for each in every] == mixed_sources.texts
    assert len(inspect("--source", "")["samples"]) == 5


def test_the_json_of_a_sample_is_complete(mixed_sources: Prepared, inspect: Inspect) -> None:
    for each, sample in zip(inspect("--rows", "1000")["samples"], mixed_sources.samples, strict=True):
        assert {name: each[name] for name in ("split", "source", "place", "role")} == {
            name: getattr(sample, name) for name in ("split", "source", "place", "role")
        }
        assert each["tokens"] == len(sample.ids)
        assert "".join(part["text"] for part in each["parts"]) == each["text"] == sample.text
        assert "".join(part["text"] for part in each["parts"] if part["trained"]) == "".join(sample.learnt)
        assert [part["text"] for part in each["parts"] if part["special"]] == [BOS, EOS]


def test_samples_of_a_source(mixed_sources: Prepared, inspect: Inspect) -> None:
    found = inspect("--source", "GENERAL", "--rows", "100")["samples"]
    assert [each["place"] for each in found] == [each.place for each in mixed_sources.samples if each.role == "general"]


def test_the_longest_come_first(mixed_sources: Prepared, inspect: Inspect) -> None:
    found = [each["tokens"] for each in inspect("--longest", "--rows", "4")["samples"]]
    assert found == sorted((len(sample.ids) for sample in mixed_sources.samples), reverse=True)[:4]
    assert found[0] == mixed_sources.metrics["longest"]
    of_source = inspect("--longest", "--source", "general", "--rows", "1")["samples"]
    assert of_source[0]["tokens"] == max(len(each.ids) for each in mixed_sources.samples if each.role == "general")


@pytest.mark.parametrize(("text", "count"), [("ship number 1", 2), ("MOON 11", 1), ("the bell", 1), ("nowhere", 0)])
def test_samples_that_contain_a_text(mixed_sources: Prepared, inspect: Inspect, text: str, count: int) -> None:
    found = inspect("--grep", text, "--rows", "2")["samples"]
    assert len(found) == count
    assert [each for each in found if text.lower() not in each["text"].lower()] == []


def test_special_tokens_are_found_by_their_text(mixed_sources: Prepared, inspect: Inspect) -> None:
    assert len(inspect("--grep", EOS, "--rows", "1000")["samples"]) == len(mixed_sources.samples)


def test_looks_go_together(mixed_sources: Prepared, inspect: Inspect) -> None:
    found = inspect("--grep", "ship", "--source", "posts", "--longest", "--rows", "3")["samples"]
    assert [each["source"] for each in found] == ["posts.jsonl"] * 3
    assert [each["tokens"] for each in found] == sorted((each["tokens"] for each in found), reverse=True)


@pytest.mark.parametrize("words", [["--grep", "nowhere"], ["--source", "nowhere"], ["--source", "nobody", "--longest"]])
def test_nothing_like_that_is_said(cli: Cli, mixed_sources: Prepared, inspect: Inspect, words: list[str]) -> None:
    shown = cli("inspect", "prepare", *words).ok()
    assert (shown.out, shown.err) == ("", "no sample is like that\n")
    assert inspect(*words)["samples"] == []


def test_only_prepare_has_samples(cli: Cli, trained: object) -> None:
    error = cli("inspect", "train", "--rows", "3", "--json")
    assert (error.code, error.document["error"]["code"]) == (2, "UsageError")
    assert error.document["error"]["hint"] == "for example: twinctl inspect prepare --rows 5"
    assert cli("inspect", "prepare", "--rows", "0").code == 2


# Dropped rows


def test_dropped_rows_are_shown_with_place_and_reason(cli: Cli, mixed_sources: Prepared) -> None:
    shown = cli("inspect", "prepare", "--dropped", "over max").ok().out
    assert shown.startswith("── posts.jsonl:22  over max length\n")
    assert "word word" in shown
    assert "duplicate" not in shown
    everything = cli("inspect", "prepare", "--dropped", "all").ok().out
    assert re.findall(r"^── (\S+)  (.+)$", everything, re.MULTILINE) == [
        ("posts.jsonl:21", "empty instruction"),
        ("posts.jsonl:23", "duplicate"),
        ("posts.jsonl:22", "over max length"),
    ]
    nothing = cli("inspect", "prepare", "--dropped", "not text").ok()
    assert (nothing.out, nothing.err) == ("", "no row was dropped for that reason\n")


def test_a_few_of_many_dropped_rows_are_kept(prepares: Prepare, home: Path, inspect: Inspect) -> None:
    write_rows(home / "posts.jsonl", [*rows(3), *({"instruction": " ", "output": f"b {n}"} for n in range(1000))])
    assert prepares("-d", "posts.jsonl").metrics["rows_dropped"] == {"empty instruction": 1000}
    assert [each["place"] for each in inspect("--dropped", "all")["dropped"]] == [
        f"posts.jsonl:{line}" for line in range(4, 14)
    ]


# On a terminal


def _on_a_terminal(*words: str, **env: str) -> str:
    import os

    full = {**os.environ, "TERM": "xterm-256color", **env}
    full.pop("NO_COLOR")
    command = ["-m", "twinctl.cli.app", "inspect", "prepare", *words]
    child = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=60, dimensions=(50, 100), env=full)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    return str(child.before).replace("\r\n", "\n")


def test_a_terminal_shows_in_colour_what_is_masked(mixed_sources: Prepared) -> None:
    shown = _on_a_terminal("--source", "notes")
    assert "⟦" not in shown.split("\n", 1)[1]
    assert f"\x1b[1;35m{EOS}" in shown  # special
    assert "\x1b[2mBelow is an instruction" in shown  # masked
    assert "\x1b[32mThe bell [red]rings[/red] in fog" in shown  # learnt


def test_no_secret_is_shown_in_a_sample_or_a_dropped_row(cli: Cli, prepare: list[str], home: Path) -> None:
    secret = "abcdefghij0123456789secret"
    values = [{"instruction": "What is the key?", "output": f"It is {secret}, keep it."}, *rows(5)]
    write_rows(home / "posts.jsonl", [*values, {"instruction": " ", "output": secret}])
    cli(*prepare).ok()
    (home / ".env").write_text(f"COMET_API_KEY={secret}\n")
    shown = [cli("inspect", "prepare", *words).ok().out for words in (["--grep", "the key"], ["--dropped", "all"])]
    shown.append(_on_a_terminal("--grep", "the key"))
    assert [secret in text for text in shown] == [False] * 3
    assert ["keep it" in text for text in shown] == [True, False, True]
    path = Path(cli(*prepare, "--restart", "--json").ok().document["path"])  # now the secret is known from the start
    assert secret not in (path / "audit.json").read_text()
