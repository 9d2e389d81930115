"""How long `twinctl prepare` takes, against the bare tokenizer and against the trainer doing it: medians of one run.

    uv run python tests/benchmarks/prepare.py [--rows 13000 --rows 1000000] [--rounds 3] [--data ROWS.jsonl …]

The rows (by default the bundled author's) are repeated with variations to the wanted number, and a byte-level BPE
tokenizer of 32,768 entries is trained on them first. Each figure is measured in a process of its own, imports apart;
the three take turns. Exit 1 when a bar is missed: prepare takes at most 1.5 times `encode_batch` of the same text plus
2 s, at most a third of SFTTrainer's formatting, tokenising and packing with its defaults (up to 20,000 rows, where that
is bearable; dataset_num_proc=2 is shown beside), and less than 2 GiB of resident memory however many rows there are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twinctl.bundled import AUTHOR_ROWS

TIMES, SECONDS, OF_TRAINER, GIB = 1.5, 2.0, 1 / 3, 2.0
FEW = 20_000
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
FORM = (  # what the alpaca template makes of a row
    "{}Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{}\n\n### Response:\n{}{}"
)

TIMER = """
import json, re, sys, time
folder, rows = sys.argv[1], sys.argv[2]
began = time.perf_counter()
{imports}
imported = time.perf_counter()
{work}
ended = time.perf_counter()
print(json.dumps({{"imports": imported - began, "seconds": ended - imported,
    "gib": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 2**20}}))
"""
PREPARE = (
    """
import twinctl.cli.prepare, twinctl.data.preparation, jinja2, numpy, pyarrow, tokenizers
from twinctl.cli.app import app""",
    """
words = ["prepare", "-d", rows, "--model", folder, "--general", "0", "--quiet", "--json", "-w", folder + "/workspace"]
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = app(words, standalone_mode=False)
assert not code, out.getvalue()""",
)
BARE = (
    "from tokenizers import Tokenizer\nfrom itertools import islice\nimport gc",
    """
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
texts = (json.loads(line) for line in open(rows + ".texts"))
spent = 0.0
while batch := list(islice(texts, 10000)):
    start = time.perf_counter()
    tokenizer.encode_batch(batch, add_special_tokens=False)
    spent += time.perf_counter() - start
imported = time.perf_counter() - spent""",
)
TRAINER = (
    """
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from twinctl.data.template import packaged""",
    """
tokenizer = AutoTokenizer.from_pretrained(folder)
tokenizer.pad_token = tokenizer.eos_token
model = AutoModelForCausalLM.from_pretrained(folder)
imported = time.perf_counter()
data = load_dataset("json", data_files=rows, split="train", cache_dir=folder + "/cache")
form = ("Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\\n\\n### Instruction:\\n{}\\n\\n### Response:\\n{}")
data = data.map(lambda batch: {"text": [
    form.format(one, other) + tokenizer.eos_token for one, other in zip(batch["instruction"], batch["output"])
]}, batched=True, remove_columns=data.column_names)
config = SFTConfig(output_dir=folder + "/trainer", max_length=2048, packing=True, dataset_num_proc=PROCESSES,
                   report_to="none", use_cpu=True, bf16=False, dataset_text_field="text", padding_free=False)
SFTTrainer(model=model, processing_class=tokenizer, train_dataset=data, args=config)""",
)
TRAINERS = {
    "SFTTrainer": (TRAINER[0], TRAINER[1].replace("PROCESSES", "None")),
    "SFTTrainer, 2 proc": (TRAINER[0], TRAINER[1].replace("PROCESSES", "2")),
}


def varied(rows: list[dict[str, Any]], count: int) -> Iterator[dict[str, str]]:
    """The rows again and again, each time a little different, so that none is a duplicate."""
    for number in range(count):
        row = rows[number % len(rows)]
        words = row["output"].split(" ")
        words.insert(number // len(rows) % (len(words) + 1), f"({number})")
        yield {"instruction": f"{row['instruction']} {row.get('input') or ''}".strip(), "output": " ".join(words)}


def make_model(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A one-layer Llama with a tokenizer of 32,768 entries, trained on the rows."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=32_768, special_tokens=[BOS, EOS, "<|pad|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((f"{row['instruction']} {row['output']}" for row in varied(rows, 20_000)), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": BOS, "eos_token": EOS, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=32_768, **shape)).save_pretrained(folder)


def measure(parts: tuple[str, str], folder: Path, rows: Path) -> dict[str, float]:
    """Seconds of the work and of the imports before it, and the most memory held, in a process of its own."""
    shutil.rmtree(folder / "workspace", ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    imports, work = parts
    done = subprocess.run(
        [sys.executable, "-c", TIMER.format(imports=imports, work=work), str(folder), str(rows)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, nargs="+", default=[AUTHOR_ROWS])
    options = parser.parse_args()
    rows = [json.loads(line) for path in options.data for line in path.read_text(encoding="utf-8").splitlines()]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, rows)
        for count in options.rows or [13_000, 1_000_000]:
            missed += compare(folder, rows, count, options.rounds)
    return 1 if missed else 0


def compare(folder: Path, rows: list[dict[str, Any]], count: int, rounds: int) -> int:
    """Measure one number of rows; how many bars were missed."""
    path = folder / f"{count}.jsonl"
    with open(path, "w", encoding="utf-8") as data, open(f"{path}.texts", "w", encoding="utf-8") as texts:
        for row in varied(rows, count):
            data.write(json.dumps(row, ensure_ascii=False) + "\n")
            texts.write(json.dumps(FORM.format(BOS, row["instruction"], row["output"], EOS), ensure_ascii=False) + "\n")
    what = {"encode_batch": BARE, "twinctl prepare": PREPARE, **(TRAINERS if count <= FEW else {})}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in what}
    for _ in range(rounds if count <= FEW else 1):
        for name, parts in what.items():
            found[name].append(measure(parts, folder, path))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    bare, ours = medians["encode_batch"]["seconds"], medians["twinctl prepare"]
    bars = {"time": ours["seconds"] <= TIMES * bare + SECONDS, "memory": ours["gib"] <= GIB}
    if "SFTTrainer" in medians:
        bars["trainer"] = ours["seconds"] <= OF_TRAINER * medians["SFTTrainer"]["seconds"]
    print(f"{count:,} rows, {path.stat().st_size / 2**20:.0f} MiB")
    print(f"  {'':<18}{'seconds':>10}{'of bare':>9}{'imports':>9}{'GiB':>7}")
    for name, run in medians.items():
        print(
            f"  {name:<18}{run['seconds']:>10.2f}{run['seconds'] / bare:>9.2f}{run['imports']:>9.2f}{run['gib']:>7.2f}"
        )
    print("  " + ", ".join(f"{name} {'ok' if good else 'MISSED'}" for name, good in bars.items()))
    return sum(not good for good in bars.values())


if __name__ == "__main__":
    sys.exit(main())
