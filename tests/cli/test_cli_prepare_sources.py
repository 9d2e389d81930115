"""prepare: where rows come from, and that writing of every kind becomes samples."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.support.commands import Cli
from tests.support.prepared import Prepare, Prepared
from tests.support.stand_ins import rows, write_rows
from tests.support.tokenizers import BOS, EOS
from twinctl.data.tokens import EVAL, TRAIN

WORDS = ["ropes", "tides", "gulls", "nets", "masts", "winds", "sails", "knots", "charts", "bells", "lamps", "piers"]


def _post(number: int) -> str:
    """A post: front matter, a lead, and two headings with a paragraph each; no two posts share a sentence."""
    word = WORDS[number % len(WORDS)]
    sections = "\n\n".join(
        f"## About {word} {part}\n\nEvery [harbour](https://a.org) has its {word}, says keeper {number} of {part}."
        for part in ("old", "new")
    )
    return f"---\ntitle: Notes on {word} {number}\ntags: [sea]\n---\n\nThis is *lead* {number}.\n\n{sections}\n"


def _posts(home: Path, count: int = 12) -> Path:
    folder = home / "posts"
    for number in range(count):
        path = folder / f"{2020 + number % 3}" / f"post-{number}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_post(number), encoding="utf-8")
    return folder


def _csv(path: Path, values: list[dict[str, str]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(values[0]))
    writer.writeheader()
    writer.writerows(values)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


# Plain writing


def _sides(prepared: Prepared) -> dict[str, set[str]]:
    found = defaultdict(set)
    for sample in prepared.samples:
        found[sample.document].add(sample.split)
    return found


def test_a_folder_of_posts_becomes_passages_split_by_document(prepares: Prepare, home: Path) -> None:
    prepared = prepares("-d", _posts(home).name, "--max-length", "512")
    assert prepared.metrics["shapes"] == {"text": 12}
    assert prepared.metrics["cleaned"]["front matter"] == 12
    assert prepared.metrics["rows_dropped"] == {}
    sides = _sides(prepared)
    assert sorted(sides) == sorted(str(path.relative_to(home / "posts")) for path in home.glob("posts/*/*.md"))
    assert {len(side) for side in sides.values()} == {1}
    assert set.union(*sides.values()) == {TRAIN, EVAL}
    assert Counter(sample.document for sample in prepared.samples) == dict.fromkeys(sides, 3)


def test_a_passage_is_asked_for_and_is_the_authors_words(prepares: Prepare, home: Path) -> None:
    prepared = prepares("-d", _posts(home, 2).name, "--max-length", "512")
    (lead, old, new) = [sample for sample in prepared.samples if sample.document.endswith("post-1.md")]
    assert re.fullmatch("Write the passage “This is lead 1.?” of “Notes on tides 1”.", lead.prompt)
    assert old.prompt == "Write the passage “About tides old” of “Notes on tides 1”."
    assert new.prompt == "Write the passage “About tides new” of “Notes on tides 1”."
    assert old.text.endswith("\n\n### Response:\nEvery harbour has its tides, says keeper 1 of old." + EOS)
    assert f"### Instruction:\n{old.prompt}\n\n### Response:" in old.text
    assert [sample.place.partition("#")[2] for sample in (lead, old, new)] == ["1", "2", "3"]
    assert not any(word in text for text in prepared.texts for word in ("tags:", "https:", "---", "\n## "))


def test_one_document_is_held_out_at_the_least(prepares: Prepare, home: Path) -> None:
    prepared = prepares("-d", _posts(home).name, "--max-length", "512", "--eval-fraction", "0.0001")
    assert len({sample.document for sample in prepared.side(EVAL)}) == 1
    assert len({sample.document for sample in prepared.side(TRAIN)}) == 11
    assert prepared.metrics["eval_rows"] == 3


def test_raw_writing_is_learnt_as_it_is(prepares: Prepare, home: Path) -> None:
    _posts(home, 3)
    words = " ".join(f"Sentence {number} is about the sea." for number in range(60))
    (home / "posts/long.txt").write_text(f"{words}\n\nThe end.\n")
    prepared = prepares("-d", "posts", "--text-as", "raw", "--loss", "completion")
    assert all(text.startswith(BOS) and text.endswith(EOS) and "###" not in text for text in prepared.texts)
    assert all(sample.learnt == [sample.text] and sample.prompt == "" for sample in prepared.samples)
    assert max(len(sample.ids) for sample in prepared.samples) <= 256
    long = [sample.text[len(BOS) : -len(EOS)] for sample in prepared.samples if sample.document == "long.txt"]
    assert len(long) > 3
    assert " ".join(long).split() == f"{words} The end.".split()
    short = next(sample.text for sample in prepared.samples if sample.document.endswith("post-2.md"))
    heading = "About gulls old\n\nEvery harbour has its gulls, says keeper 2 of old."
    assert short.startswith(f"{BOS}Notes on gulls 2\n\nThis is lead 2.\n\n{heading}")
    assert {len(side) for side in _sides(prepared).values()} == {1}


def test_a_long_section_is_asked_for_in_parts(prepares: Prepare, home: Path) -> None:
    (home / "tale.md").write_text(
        "# The tale\n\n## Storm\n\n" + " ".join(f"Gust {n} rose over the bay." for n in range(60))
    )
    prompts = [sample.prompt for sample in prepares("-d", "tale.md", "--eval-fraction", "0").samples]
    assert prompts[:3] == [
        "Write the passage “Storm” of “The tale”.",
        "Write the passage “Storm” of “The tale”, part 2.",
        "Write the passage “Storm” of “The tale”, part 3.",
    ]
    assert len(set(prompts)) == len(prompts)


# Several sources and shapes in one run


def _of_every_shape(home: Path) -> dict[str, int]:
    """Sources of every shape; the samples that each gives."""
    write_rows(home / "rows.jsonl", [*rows(4), {"instruction": "Sum up.", "input": "A long text.", "output": "Short."}])
    turns = [("user", "Who is there?"), ("assistant", "The keeper."), ("user", "Why?"), ("assistant", "It is night.")]
    talk = [{"role": role, "content": text} for role, text in turns]
    (home / "talks.json").write_text(json.dumps([{"messages": talk}]))
    shared = [{"from": "human", "value": "Which boat?"}, {"from": "gpt", "value": "The red one."}]
    write_rows(home / "shared.jsonl", [{"conversations": shared}])
    _csv(home / "pairs.csv", [{"prompt": "How deep?", "completion": 'Six fathoms, "about".'}])
    (home / "notes.txt").write_text("A note on fog.\n")
    page = "<nav>menu</nav><article><h1>Fog</h1><p>It &amp; the bell.</p></article>"
    (home / "page.html").write_text(f"<html><head><title>Fog</title></head><body>{page}</body></html>")
    return {"rows.jsonl": 5, "talks.json": 1, "shared.jsonl": 1, "pairs.csv": 1, "notes.txt": 1, "page.html": 1}


def test_sources_of_every_shape_in_one_run(prepares: Prepare, home: Path) -> None:
    expected = _of_every_shape(home)
    prepared = prepares(*(word for name in expected for word in ("-d", name)), "--max-length", "400")
    assert prepared.metrics["shapes"] == {"instruction": 5, "messages": 1, "sharegpt": 1, "prompt": 1, "text": 2}
    assert {source["name"]: source["samples"] for source in prepared.metrics["sources"]} == expected
    assert Counter(sample.source for sample in prepared.samples) == expected
    assert prepared.adds_up()
    of = {sample.source: sample.text for sample in prepared.samples}
    assert of["talks.json"].count("### Instruction:") == of["talks.json"].count(EOS) == 2
    assert of["shared.jsonl"].endswith(f"Which boat?\n\n### Response:\nThe red one.{EOS}")
    assert of["pairs.csv"].endswith(f'Six fathoms, "about".{EOS}')
    assert of["notes.txt"].endswith(f"A note on fog.{EOS}")
    assert of["page.html"].endswith(f"Write “Fog”.\n\n### Response:\nIt & the bell.{EOS}")
    assert any("### Instruction:\nSum up.\n\n### Input:\nA long text." in text for text in prepared.texts)


def test_rows_of_several_shapes_in_one_file(prepares: Prepare, home: Path) -> None:
    shared = {"conversations": [{"from": "human", "value": "Which boat?"}, {"from": "gpt", "value": "The red one."}]}
    write_rows(home / "all.jsonl", [*rows(3), shared, {"text": "A note on fog.", "title": "Fog"}])
    prepared = prepares("-d", "all.jsonl")
    assert prepared.metrics["shapes"] == {"instruction": 3, "sharegpt": 1, "text": 1}
    assert [sample.prompt for sample in prepared.samples if sample.place == "all.jsonl:5#1"] == ["Write “Fog”."]


def test_a_glob_takes_what_it_matches(prepares: Prepare, home: Path) -> None:
    _posts(home, 6)
    (home / "posts/2020/draft.txt").write_text("A draft.")
    prepared = prepares("-d", "posts/202[01]/*.md", "--max-length", "400")
    assert {sample.document for sample in prepared.samples} == {f"202{n % 3}/post-{n}.md" for n in (0, 1, 3, 4)}
    (source,) = prepared.metrics["sources"]
    assert (source["name"], source["read"]) == ("posts/202[01]/*.md", 4)


def test_a_folder_of_rows_and_writing_together(prepares: Prepare, home: Path) -> None:
    folder = _posts(home, 2)
    write_rows(folder / "chat.jsonl", rows(3))
    prepared = prepares("-d", "posts", "--max-length", "400")
    assert prepared.metrics["shapes"] == {"instruction": 3, "text": 2}
    assert prepared.metrics["rows_read"] == 5


def test_csv_with_columns_of_other_names(prepares: Prepare, home: Path) -> None:
    _csv(
        home / "qa.csv",
        [{"q": f"What is {n}?", "a": f"It is\nnumber {n}, or “{n}”.", "date": "1999"} for n in range(5)],
    )
    prepared = prepares("-d", "qa.csv", "--map", "instruction=q", "--map", "output=a")
    assert len(prepared.samples) == 5 and prepared.adds_up()
    first = next(sample for sample in prepared.samples if sample.prompt == "What is 0?")
    assert first.text.endswith(f"\n\n### Response:\nIt is\nnumber 0, or “0”.{EOS}")
    assert first.place == "qa.csv:2"


# Standard input


def test_rows_from_standard_input(prepares: Prepare, home: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows(20))
    first = prepares("-d", "-", input=text)
    assert (len(first.samples), first.samples[0].source) == (20, "standard input")
    assert {re.sub(r"\d+$", "", sample.place) for sample in first.samples} == {"standard input:"}
    again = prepares("-d", "-", input=text)
    assert again.document == {**first.document, "cached": True}
    other = prepares("-d", "-", input=text + text.replace("harbour", "bay"))
    assert (other.document["cached"], len(other.samples)) == (False, 40)


def test_rows_in_a_file_and_from_standard_input_are_the_same(prepares: Prepare, home: Path) -> None:
    path = write_rows(home / "rows.jsonl", rows(8))
    piped = prepares("-d", "-", input=path.read_text())
    named = prepares("-d", "rows.jsonl")
    assert (named.document["cached"], named.document["fingerprint"]) == (True, piped.document["fingerprint"])


def test_writing_from_standard_input_in_a_process_of_its_own(shell: Cli, model: Path) -> None:
    words = ["prepare", "--preset", "tiny", "--model", model, "-d", "-", "--json"]
    done = shell(*words, input="The bell rang.\n\nNobody came.\n").ok()
    assert done.document["metrics"]["shapes"] == {"text": 1}
    refused = shell(*words, input="")
    assert (refused.code, refused.document["error"]["message"]) == (3, "standard input is empty")


# What is said of a source in twinctl.toml


def _toml(home: Path, *tables: str) -> None:
    (home / "twinctl.toml").write_text("\n".join(tables))


def test_limit_weight_and_map_of_a_table(prepares: Prepare, home: Path) -> None:
    write_rows(home / "a.jsonl", rows(40, "bay"))
    write_rows(home / "b.jsonl", [{"q": row["instruction"], "output": row["output"]} for row in rows(10, "moon")])
    _toml(
        home,
        '[[prepare.data]]\nsource = "a.jsonl"\nlimit = 30\nweight = 0.5\n',
        '[[prepare.data]]\nsource = "b.jsonl"\nweight = 3\nmap = ["instruction=q"]\n',
    )
    prepared = prepares()
    a, b = prepared.metrics["sources"]
    in_train = 30 - a["eval"]
    assert (a["read"], a["train"], a["dropped"]) == (30, in_train // 2, {"left out by its weight": -(-in_train // 2)})
    assert (b["read"], b["train"], b["dropped"]) == (10, 3 * (10 - b["eval"]), {})
    times = Counter(sample.place for sample in prepared.side(TRAIN) if sample.source == "b.jsonl")
    assert set(times.values()) == {3}
    assert Counter(sample.place for sample in prepared.side(EVAL)).most_common(1)[0][1] == 1
    assert {int(sample.place.partition(":")[2]) <= 30 for sample in prepared.samples} == {True}


def test_what_a_table_says_is_part_of_the_identity(prepares: Prepare, home: Path) -> None:
    write_rows(home / "a.jsonl", rows(12, "bay"))
    seen = set()
    for more in (
        "",
        "limit = 11",
        "weight = 2",
        "weight = 0.5",
        'map = ["output=output"]',
        "weight = 1.0",
        "limit = 12",
    ):
        _toml(home, f'[[prepare.data]]\nsource = "a.jsonl"\n{more}\n')
        seen.add(prepares().document["fingerprint"])
    assert len(seen) == 6  # a weight of 1 is the default


def test_a_name_decides_nothing_about_what_a_weight_leaves_out(prepares: Prepare, home: Path) -> None:
    """The fingerprint knows contents alone, so the result may depend on nothing else."""
    write_rows(home / "a.jsonl", rows(30, "bay"))
    _toml(home, '[[prepare.data]]\nsource = "a.jsonl"\nweight = 0.5\n')
    before = prepares()
    (home / "a.jsonl").rename(home / "b.jsonl")
    _toml(home, '[[prepare.data]]\nsource = "b.jsonl"\nweight = 0.5\n')
    after = prepares("--restart")
    assert after.document["fingerprint"] == before.document["fingerprint"]
    assert after.texts == before.texts


# The author's and the general rows


def _both(home: Path, author: int, general: int) -> None:
    write_rows(home / "author.jsonl", rows(author, "bay"))
    write_rows(home / "general.jsonl", rows(general, "moon"))
    (home / "twinctl.toml").write_text('[prepare]\ndata = ["author.jsonl"]\ngeneral = ["general.jsonl"]\n')


@pytest.mark.parametrize(
    ("author", "general", "words", "taken"),
    [
        (6, 60, [], 20),  # the book's: 10 for 3
        (7, 60, [], 24),  # 23.3, rounded up
        (6, 12, [], 12),  # there are no more
        (6, 60, ["--general", "9"], 9),
        (6, 60, ["--general", "0"], 0),
        (6, 60, ["--general", "1000"], 60),
    ],
)
def test_general_rows_are_capped(
    prepares: Prepare, home: Path, author: int, general: int, words: list[str], taken: int
) -> None:
    _both(home, author, general)
    prepared = prepares(*words)
    assert prepared.metrics["rows_by_role"] == {"author": author, **({"general": taken} if taken else {})}
    assert prepared.adds_up()
    numbers = {int(sample.place.partition(":")[2]) for sample in prepared.samples if sample.role == "general"}
    assert numbers == set(range(1, taken + 1))


def test_the_cap_is_for_all_general_sources_together(prepares: Prepare, home: Path) -> None:
    _both(home, 6, 15)
    write_rows(home / "more.jsonl", rows(15, "star"))
    write_rows(home / "last.jsonl", ["this is never read"])
    config = '[prepare]\ndata = ["author.jsonl"]\ngeneral = ["general.jsonl", "more.jsonl", "last.jsonl"]\n'
    (home / "twinctl.toml").write_text(config)
    prepared = prepares()
    samples = {source["name"]: (source["samples"], source["capped"]) for source in prepared.metrics["sources"]}
    assert samples == {
        "author.jsonl": (6, False),
        "general.jsonl": (15, False),
        "more.jsonl": (5, True),
        "last.jsonl": (0, True),
    }
    assert prepared.adds_up()


def test_files_of_one_name_may_be_the_authors_and_general(prepares: Prepare, home: Path) -> None:
    for folder, word in (("mine", "bay"), ("others", "moon")):
        (home / folder).mkdir()
        write_rows(home / folder / "rows.jsonl", rows(6, word))
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["others/rows.jsonl"]\n')
    prepared = prepares("-d", "mine/rows.jsonl")
    assert {source["name"]: source["samples"] for source in prepared.metrics["sources"]} == {
        "mine/rows.jsonl": 6,
        "others/rows.jsonl": 6,
    }


def test_a_source_that_is_both_is_refused(cli: Cli, home: Path, prepare: list[str]) -> None:
    (home / "twinctl.toml").write_text('[prepare]\ngeneral = ["./posts.jsonl"]\n')
    error = cli(*prepare, "--json").document["error"]
    assert error["message"] == "./posts.jsonl is given twice, first as posts.jsonl"


def test_a_folder_that_gained_or_lost_a_file_is_stale(cli: Cli, home: Path, prepare: list[str]) -> None:
    folder = _posts(home, 2)
    cli(*prepare[:-1], "posts", "--run", "posts").ok()

    def reasons() -> list[str]:
        found: list[str] = cli("status", "--run", "posts", "--json").ok().document["runs"][0]["phases"][0]["reasons"]
        return found

    assert reasons() == []
    (folder / "2020/new.md").write_text("A new one.")
    (folder / "2021/post-1.md").write_text("Another.")
    assert reasons() == ["2021/post-1.md changed", "2020/new.md is new"]
    (folder / "2021/post-1.md").unlink()
    assert reasons() == ["2020/new.md is new", "2021/post-1.md is gone"]


def test_a_mistyped_path_is_told_of_before_the_model_is_looked_for(cli: Cli, home: Path) -> None:
    done = cli("prepare", "-d", "my-postz.jsonl", "--model", "nobody/no-model")
    assert done.code == 3
    assert done.err.startswith("error: there is no file my-postz.jsonl\n")
    write_rows(home / "my-posts.jsonl", rows(3))
    there = cli("prepare", "-d", "my-posts.jsonl", "--general", "0", "--model", "nobody/no-model")
    assert there.code == 7
    assert "nobody/no-model" in there.err
