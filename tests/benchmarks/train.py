"""Training speed, memory and time to the first step: twinctl against the book's script, TRL alone and TRL with Liger.

    python tests/benchmarks/train.py --model FOLDER [--data FILE …] [--steps 8] [--only book twinctl bare …]

Its bars are for a CUDA GPU; on a CPU (the bundled model, --max-length 256) it shows that it runs. One run prepares the
rows once and trains on them in one fresh process after the other: tokens/s of real tokens (no pads), median step, peak
reserved memory, seconds to the begin and the end of the first step, losses. All are timed alike: at each step's log,
which has waited for the device, the first steps left out. The first process on a machine also pays for the kernels that
are made and kept there. Rounds go there and back, so that nobody is always first, and the best one counts: the noise of
a machine only ever adds. `--only book twinctl bare --rounds 2` is six runs of about 75 s on an H200.
Rows for `book`, `trl`, `liger` are the prepared samples in TRL's own packing; all others train on twinctl's packed rows
in twinctl's order, so losses are compared with `book-rows`: the book's script on those. Exit 1 when a bar is missed.
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
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from twinctl.bundled import AUTHOR_ROWS
from twinctl.engine.private_apis import patch_varlen_gqa

WARM, FEW, FIRST = 3, 4, 4  # steps not counted; steps measured where speed is not judged; losses compared
# name: (what it is, whether its speed is judged, twinctl's words or None for a script of this file)
VARIANTS: dict[str, tuple[str, bool, list[str] | None]] = {
    "book": ("the book's script on Unsloth", True, None),
    "twinctl": ("twinctl, default plan", True, []),
    "bare": ("SFTTrainer, same plan, rows, attention", True, None),
    "book-rows": ("the book's script, twinctl's rows", False, None),
    "checkpointing": ("twinctl, checkpointing on", False, ["--gradient-checkpointing", "on"]),
    "qlora": ("twinctl QLoRA, checkpointing on", False, ["--method", "qlora", "--gradient-checkpointing", "on"]),
    "liger": ("TRL + PEFT + Liger, no checkpointing", False, None),
    "trl": ("TRL + PEFT, checkpointing on", False, None),
    "qlora-default": ("twinctl QLoRA, default plan", False, ["--method", "qlora"]),
}
DEFAULT = [name for name in VARIANTS if name != "qlora-default"]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
QUIET = {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1", "TOKENIZERS_PARALLELISM": "false"}
QUIET |= {"TWINCTL_TRAIN_TRACKING": "none", "TWINCTL_TRAIN_SAVE_EVERY": "100000", "TWINCTL_TRAIN_EVAL_EVERY": "100000"}
QUIET |= {"TWINCTL_TRAIN_SAMPLES": "0"}
MARK = "RESULT "


def script(name: str, began: float, job: dict[str, Any]) -> dict[str, Any]:
    """Train without twinctl's engine: the book's script, TRL alone, or a bare SFTTrainer on twinctl's rows."""
    own_rows, on_unsloth = name in ("bare", "book-rows"), name not in ("trl", "liger")
    micro, checkpointing = (job["micro_batch"], job["checkpointing"]) if name == "bare" else (2, name != "liger")
    if name == "bare":
        patch_varlen_gqa()
    if on_unsloth:
        from unsloth import FastLanguageModel
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from twinctl.data.tokens import TRAIN
    from twinctl.engine.models import ensure_pad_token
    from twinctl.engine.rows import PackedCollator, rows_of

    imported, model_path, length = time.time(), job["model"], job["max_length"]
    cuda = torch.cuda.is_available()
    if on_unsloth:
        model, tokenizer = FastLanguageModel.from_pretrained(
            model_name=model_path, max_seq_length=length, dtype=None, load_in_4bit=False, use_exact_model_name=True
        )
    else:
        where = {"device_map": {"": 0}} if cuda else {}
        model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16, **where)
        tokenizer = AutoTokenizer.from_pretrained(model_path)
    loaded = time.time()
    lora: dict[str, Any] = {"r": 32, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": TARGETS, "bias": "none"}
    if on_unsloth:
        kind = "unsloth" if checkpointing else False
        model = FastLanguageModel.get_peft_model(
            model, **lora, use_gradient_checkpointing=kind, random_state=0, max_seq_length=length
        )
    else:
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    ensure_pad_token(tokenizer)
    pad = tokenizer.pad_token_id
    rows = rows_of(Path(job["tokens"]), TRAIN, packing=own_rows, max_length=length, pad_id=pad)
    own = {"dataset_kwargs": {"skip_prepare_dataset": True}, "pad_to_multiple_of": 64, "remove_unused_columns": False}
    config = SFTConfig(
        output_dir=job["folder"] + "/trainer",
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=16 // micro,
        max_steps=job["warm"] + job["steps"],
        learning_rate=3e-4,
        lr_scheduler_type="linear",
        warmup_steps=10,
        weight_decay=0.01,
        optim="adamw_8bit" if cuda else "adamw_torch",
        seed=0,
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs=None if on_unsloth else {"use_reentrant": False},
        use_liger_kernel=name == "liger",
        max_length=length,
        packing=cuda or not own_rows,
        packing_strategy="bfd",
        completion_only_loss=False,
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        **(own if own_rows else {}),
    )
    train_rows = rows if own_rows else rows.select_columns(["input_ids", "labels"]).with_format(None)
    collate = PackedCollator() if own_rows and not cuda else None  # as twinctl must on a CPU
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, train_dataset=train_rows, data_collator=collate, args=config
    )
    seen: dict[str, list[float]] = {"times": [], "tokens": [], "losses": [], "begin": []}
    collator, count = trainer.data_collator, [0]

    def counting(batch: list[dict[str, Any]]) -> Any:
        count[0] += sum(int(row.pop("tokens", len(row["input_ids"]))) for row in batch)
        return collator(batch)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            seen["begin"].append(time.time())

        def on_log(self, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:  # it has waited for the device
                seen["losses"].append(float(logs["loss"]))
                seen["times"].append(time.time())
                seen["tokens"].append(count[0])

    trainer.data_collator = counting
    trainer.add_callback(Clock())
    trainer.train()
    return {
        **{key: seen[key] for key in ("losses", "times", "tokens")},
        "gib": torch.cuda.max_memory_reserved() / 2**30 if cuda else 0.0,
        "begin": seen["begin"][0] - began,
        "first": seen["times"][0] - began,
        "imports": imported - began,
        "load": loaded - imported,
        "facts": {"micro_batch": micro, "gradient_checkpointing": checkpointing},
    }


def run_script(name: str, job: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """The script in a process of its own; {"failed": reason} when it fails."""
    words = [sys.executable, str(Path(__file__).resolve()), "--script", name, json.dumps(job), str(time.time())]
    done = subprocess.run(words, env=env, cwd=job["folder"], capture_output=True, text=True, check=False)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    print("\n".join(done.stderr.splitlines()[-25:]), file=sys.stderr, flush=True)
    return {"failed": next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no output")[:160]}


def twinctl(words: list[str], env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The real command."""
    words = [sys.executable, "-m", "twinctl.cli.app", *words, "--json"]
    return subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, check=False)


def run_twinctl(name: str, words: list[str], job: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """`twinctl train` on a copy of the prepared workspace, read from its record and its events."""
    folder = Path(job["folder"])
    workspace, steps = folder / f"{name}-{time.time_ns()}", job["warm"] + job["steps"]
    shutil.copytree(folder / "workspace", workspace, symlinks=True)
    began = time.time()
    done = twinctl(["train", "--max-steps", str(steps), *words, "-w", str(workspace)], env, folder)
    records = [json.loads(path.read_text("utf-8")) | {"at": path.parent} for path in workspace.rglob("record.json")]
    record = next((record for record in records if record["phase"] == "train"), None)
    if done.returncode or record is None:
        return {"failed": (done.stdout + done.stderr).strip().replace("\n", " ")[-160:]}
    events = [json.loads(line) for line in (record["at"] / "events.jsonl").read_text("utf-8").splitlines()]
    logged = [event for event in events if event["event"] == "step"]
    stages = [event for event in events if event["event"] in ("stage", "begin")]
    ends = [*(event["time"] for event in stages[1:]), events[-1]["time"]]
    return {
        "losses": [event["loss"] for event in logged],
        "times": [event["time"] for event in logged],  # no evaluation or checkpoint is due between them
        "tokens": [event["tokens"] for event in logged],
        "gib": record["metrics"]["peak_memory_gib"],
        "begin": next(event["time"] for event in events if event["event"] == "begin") - began,
        "first": logged[0]["time"] - began,
        "stages": [
            f"{event.get('text', 'the steps')} {end - event['time']:.1f}"
            for event, end in zip(stages, ends, strict=True)
        ],
        "imports": next(
            end - event["time"]
            for event, end in zip(stages, ends, strict=True)
            if event.get("text", "").startswith("loading Unsloth")
        ),
        "evaluation": next(event["seconds"] for event in events if event["event"] == "evaluation"),
        "facts": next(event for event in events if event["event"] == "facts"),
    }


def rate(run: dict[str, Any], warm: int) -> tuple[float, float]:
    """(tokens/s, median step) after the warm-up."""
    times, tokens = run["times"][max(warm, 1) - 1 :], run["tokens"][max(warm, 1) - 1 :]
    steps = [after - before for before, after in pairwise(times)]
    return (tokens[-1] - tokens[0]) / (times[-1] - times[0]), statistics.median(steps)


def best(same: list[dict[str, Any]], rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The fastest of a variant's rounds, with the least of its own seconds in any; a failure, if there is one.

    `own`: to the first step's begin, without imports, the weights' load and twinctl's evaluation of the base, which
    takes as long as there are rows held out; `own_end`: to its end, less one step more, so that what is made ready in
    the first step counts too.
    """
    if failed := [run for run in same if "failed" in run]:
        return failed[0]
    found = max(same, key=lambda run: float(run["rate"]))
    found["rates"] = [run["rate"] for run in same]
    if loads := [run["load"] for each in rounds.values() for run in each if "load" in run]:
        load = statistics.median(loads)  # twinctl does not tell its own
        ready = [run["imports"] + run.get("load", load) + run.get("evaluation", 0.0) for run in same]
        found["own"] = min(run["begin"] - gone for run, gone in zip(same, ready, strict=True))
        found["own_end"] = min(run["first"] - gone - run["step"] for run, gone in zip(same, ready, strict=True))
    return found


def table(runs: dict[str, dict[str, Any]]) -> None:
    """One line a run; of its seconds, `best` tells."""
    columns = ("tokens/s", "of book", "step s", "GiB", "begins s", "1st done", "own s", "own end", "micro", "ckpt")
    print(f"{'':<36}" + "".join(f"{name:>9}" for name in columns) + "  losses")
    for name, run in runs.items():
        if "failed" in run:
            print(f"{VARIANTS[name][0]:<36} failed: {run['failed']}")
            continue
        ratio = f"{run['rate'] / runs['book']['rate']:.2f}" if runs.get("book", {}).get("rate") else "-"
        facts = run["facts"]
        cells = [f"{run['rate']:,.0f}", ratio, f"{run['step']:.3f}", f"{run['gib']:.1f}", f"{run['begin']:.1f}"]
        cells += [f"{run['first']:.1f}", *(f"{run[key]:.1f}" if key in run else "-" for key in ("own", "own_end"))]
        cells += [str(facts["micro_batch"]), "on" if facts["gradient_checkpointing"] else "off"]
        losses = " ".join(f"{loss:.4f}" for loss in run["losses"][:FIRST])
        print(f"{VARIANTS[name][0]:<36}" + "".join(f"{cell:>9}" for cell in cells) + "  " + losses, flush=True)
    for name, run in runs.items():
        if len(run.get("rates", ())) > 1:
            print(f"{name}, tokens/s of each round: " + ", ".join(f"{each:,.0f}" for each in run["rates"]))
        if "stages" in run:
            print(f"{name}, s: " + "; ".join(run["stages"]))


def judge(runs: dict[str, dict[str, Any]]) -> int:
    """Print the bars; how many were missed. One whose runs are not there is passed over."""
    good = {name: run for name, run in runs.items() if "failed" not in run}
    bars: list[tuple[str, float, str, float]] = []
    if {"twinctl", "book"} <= good.keys() and not good["twinctl"]["facts"]["gradient_checkpointing"]:
        bars.append(("twinctl / the book's script", good["twinctl"]["rate"] / good["book"]["rate"], ">=", 1.40))
    if {"twinctl", "bare"} <= good.keys():
        bars.append(("twinctl / bare SFTTrainer", good["twinctl"]["rate"] / good["bare"]["rate"], ">=", 0.98))
    if "own" in good.get("twinctl", {}):
        bars.append(("twinctl's own seconds to step 1", good["twinctl"]["own"], "<=", 3.0))
    bars += [("QLoRA GiB", good["qlora"]["gib"], "<=", 7.5)] if "qlora" in good else []
    bars += [("LoRA, checkpointing, GiB", good["checkpointing"]["gib"], "<=", 17.0)] if "checkpointing" in good else []
    if reference := good.get("book-rows"):
        for name in good.keys() & {"twinctl", "bare", "checkpointing", "qlora"}:
            pairs = zip(good[name]["losses"][:FIRST], reference["losses"][:FIRST], strict=False)
            worst = max(abs(one / other - 1) for one, other in pairs)
            bars.append((f"losses, {name} against book-rows", worst, "<=", 0.01))
    missed = [bar for bar in bars if (bar[1] < bar[3] if bar[2] == ">=" else bar[1] > bar[3])]
    for bar in bars:
        what, value, sign, limit = bar
        print(f"{what:<44}{value:>10.4g} {sign} {limit:<6g} {'MISSED' if bar in missed else 'met'}")
    return len(missed) + len(runs) - len(good)


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    if sys.argv[1:2] == ["--script"]:
        print(MARK + json.dumps(script(sys.argv[2], float(sys.argv[4]), json.loads(sys.argv[3]))), flush=True)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, nargs="+", help="default: the model folder's rows.jsonl, else the author's"
    )
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=1, help="of those whose speed is judged")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=DEFAULT)
    options = parser.parse_args()
    model = options.model.resolve()
    data = options.data or [path if (path := model / "rows.jsonl").exists() else AUTHOR_ROWS]
    paths = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    rounds: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="twinctl-bench-") as name:
        folder = Path(name)
        env["UNSLOTH_COMPILE_LOCATION"] = str(folder / "compiled")
        words = ["prepare", *(word for path in data for word in ("-d", str(path.resolve()))), "--model", str(model)]
        words += ["--general", "0", "--max-length", str(options.max_length), "-w", str(folder / "workspace")]
        if (done := twinctl(words, env, folder)).returncode:
            raise SystemExit(done.stdout + done.stderr)
        job = {"folder": name, "model": str(model), "max_length": options.max_length, "micro_batch": 2}
        job |= {"tokens": str(next(folder.rglob("train.arrow")).parent), "checkpointing": False}
        wanted = [each for each in VARIANTS if each in options.only]
        judged = [each for each in wanted if VARIANTS[each][1]]
        order = wanted + [each for turn in range(1, options.rounds) for each in (judged[::-1] if turn % 2 else judged)]
        for variant in order:
            _, is_judged, flags = VARIANTS[variant]
            job |= {"warm": WARM, "steps": options.steps if is_judged else min(options.steps, FEW)}
            began = time.time()
            if flags is None:
                run = run_script(variant, job, env)
            else:
                run = run_twinctl(variant, flags, job, env)
                if variant == "twinctl" and "facts" in run:  # what the bare trainer does after it
                    job["micro_batch"] = run["facts"]["micro_batch"]
                    job["checkpointing"] = run["facts"]["gradient_checkpointing"]
            if "failed" not in run:
                run["rate"], run["step"] = rate(run, WARM)
            rounds.setdefault(variant, []).append(run)
            shown = {key: value for key, value in run.items() if key not in ("times", "tokens")}
            print(f"{variant}, {time.time() - began:.0f} s: {json.dumps(shown)}", file=sys.stderr, flush=True)
    runs = {variant: best(rounds[variant], rounds) for variant in wanted}
    table(runs)
    return 1 if judge(runs) else 0


if __name__ == "__main__":
    sys.exit(main())
