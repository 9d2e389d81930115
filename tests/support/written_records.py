"""A small workspace whose records are written by hand: prepared, trained, merged, and two GGUF files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from twinctl.pipeline.base_checkpoint import BaseCheckpoint
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.publishing import Card, licences, render
from twinctl.workspace.artifact import Artifact, manifest
from twinctl.workspace.fingerprint import fingerprint
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

REAL_CARD_DATA = licences.card_data
SHA, DATA_SHA = "a" * 40, "b" * 40
HUB_BASE = BaseCheckpoint(
    "meta-llama/Llama-3.1-8B", repo="meta-llama/Llama-3.1-8B", sha=SHA, files={"model.safetensors": "c" * 64}
)
LORA = {
    **{"method": "lora", "rank": 24, "alpha": 48, "dropout": 0.05, "bias": "none", "target_modules": ["q_proj"]},
    **{"rslora": True, "dora": False, "learning_rate": 2e-4, "scheduler": "cosine", "batch_size": 16, "epochs": 2.0},
    **{"optimizer": "adamw_8bit", "packing": True, "seed": 7, "best": False, "choose_every": 0.1, "max_steps": None},
}
PREPARED = {"template": "alpaca", "max_length": 2048, "loss": "all", "text_as": "passages", "eval_fraction": 0.05}
MODELFILE = '''FROM ./me.gguf
TEMPLATE """### Instruction:
{{ .Content }}"""
PARAMETER stop "<|end_of_text|>"
PARAMETER num_ctx 2048
'''
ANSWER = {"prompt": "What is a harbour for?", "text": "For ships that are tired, dear heart.", "finish": "stop"}
HUB_CARDS = {
    "meta-llama/Llama-3.1-8B": {"license": "llama3.1"},
    "mlabonne/llmtwin": {"license": "cc-by-4.0", "language": ["en"]},
    "mlabonne/FineTome-Alpaca-100k": {"language": "en"},
}


def source(name: str, role: str = "author", **more: Any) -> dict[str, Any]:
    """A source's counts, as prepare records them."""
    counts = {"read": 120, "tokens": 9000, "trained": 9000, "capped": False, "samples": 100, "train": 95, "eval": 5}
    return {"name": name, "role": role, **counts, "dropped": {"duplicate": 20}, "cleaned": {}, "shapes": {}, **more}


@dataclass
class RecordedRun:
    """The workspace and what its records will say; change it, then `card`."""

    root: Path
    base: BaseCheckpoint = HUB_BASE
    train: dict[str, Any] = field(default_factory=lambda: dict(LORA))
    prepare: dict[str, Any] = field(default_factory=lambda: dict(PREPARED))
    metrics: dict[str, Any] = field(default_factory=lambda: {"eval_loss": 1.25, "base_eval_loss": 2.5})
    answers: list[dict[str, str]] = field(default_factory=lambda: [dict(ANSWER)])
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)
    modelfile: str | None = MODELFILE
    tokenizer: dict[str, str] = field(default_factory=dict)
    eos: str = "<|end_of_text|>"
    sources: list[tuple[dict[str, Any], dict[str, Any]]] = field(
        default_factory=lambda: [
            (source("mlabonne/llmtwin"), {"repo": "mlabonne/llmtwin", "sha": DATA_SHA, "split": "train"}),
            (source("letters.jsonl"), {"files": [["d" * 64, "jsonl", "letters"], ["e" * 64, "md", "My diary"]]}),
            (
                source("mlabonne/FineTome-Alpaca-100k", "general", eval=0),
                {"repo": "mlabonne/FineTome-Alpaca-100k", "sha": DATA_SHA, "split": "train[:10000]"},
            ),
        ]
    )

    def make(self) -> tuple[Workspace, Run]:
        """Write everything."""
        workspace = Workspace.open(self.root)
        workspace.create()
        prepared = self._prepared(workspace)
        trained = self._trained(workspace, prepared)
        if self.train["method"] != "full":
            files = {"config.json": "{}", "model.safetensors": "merged", **self.tokenizer}
            trained = self._record(workspace, "merge", "merge", "model", {}, {"adapter": trained}, files)
        for quant, size in (("q8_0", 900), ("q4_k_m", 500)):
            recipe, files = {"name": "me", "quant": quant}, {f"me-{quant}.gguf": "G" * size}
            files |= {"Modelfile": self.modelfile} if self.modelfile else {}
            self._record(
                workspace, "gguf", f"gguf-{quant}", "gguf", recipe, {"model": trained}, files, self.proofs.get(quant)
            )
        with workspace.runs.change("me") as run:
            run.pins = {"preset": "twinllama", "model": self.base.stored(), "sources": []}
        workspace.runs.use("me")
        return workspace, workspace.run("me")

    def card(self, kind: str, repo: str | None = "me/my-twin", **more: Any) -> Card:
        """Write everything and render."""
        return render(RunView(*self.make()), Kind(kind), repo, **more)

    def _prepared(self, workspace: Workspace) -> str:
        counts = [each for each, _ in self.sources]
        metrics = {
            **{"train_rows": 285, "eval_rows": 10, "tokens": 27000, "sources": counts},
            **{"tokens_by_role": {"author": 18000, "general": 9000}},
        }
        identities = [{"role": count["role"], **identity} for count, identity in self.sources]
        files = {"template.jinja": "t", "tokens.json": json.dumps({"max_length": 2048, "eos": self.eos})}
        inputs = {"sources": identities}
        return self._record(workspace, "prepare", "prepare", "tokens", self.prepare, {}, files, metrics, inputs)

    def _trained(self, workspace: Workspace, tokens: str) -> str:
        is_full = self.train["method"] == "full"
        files = (
            {"model.safetensors": "w"} if is_full else {"adapter_model.safetensors": "w", "adapter_config.json": "{}"}
        )
        files |= self.tokenizer
        metrics = {"steps": 40, "epochs": 2.0, "tokens": 51234, "tokens_per_second": 9000.4, **self.metrics}
        kind, inputs = ("model" if is_full else "adapter"), {"base": self.base.digest}
        path = self._record(workspace, "train", "train", kind, self.train, {"tokens": tokens}, files, metrics, inputs)
        _events(workspace.artifact(path), self.answers)
        return path

    def _record(
        self,
        workspace: Workspace,
        phase: str,
        slot: str,
        produces: str,
        recipe: dict[str, Any],
        parents: dict[str, str],
        files: dict[str, str],
        metrics: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> str:
        above = {name: _digest(workspace, path) for name, path in parents.items()}
        said = {"phase": phase, "recipe": recipe, "inputs": {**above, **(inputs or {})}}
        path = f"{phase}/{slot}-x"
        artifact = workspace.artifact(path)
        artifact.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (artifact.out / name).write_text(text)
        kept = manifest(artifact.out)
        told = {"slot": slot, "version": 1, "produces": produces, "origins": {}, "parents": parents, "warnings": []}
        times = {"created": 1_790_000_000.0, "seconds": 3.5, "about": {"command": phase, "run": "me"}}
        digests = {"fingerprint": fingerprint(said), "digest": fingerprint([file.sha256 for file in kept])}
        record = {**said, **told, **times, **digests, "files": [*map(asdict, kept)], "metrics": metrics or {}}
        (artifact.path / "record.json").write_text(json.dumps(record))
        workspace.runs.point("me", slot, path)
        return path


def _digest(workspace: Workspace, path: str) -> str:
    record = workspace.artifact(path).record()
    assert record is not None
    return record.digest


def _events(training: Artifact, answers: list[dict[str, str]]) -> None:
    (training.path / "events.jsonl").unlink(missing_ok=True)
    (training.path / "attempts.jsonl").unlink(missing_ok=True)
    training.append_event("evaluation", step=0, eval_loss=2.5)
    for step in [*range(1, 31), *range(21, 41)]:  # it was resumed from step 20
        training.append_event("step", step=step, steps=40, loss=2.5 / step**0.3)
    training.append_event("evaluation", step=40, eval_loss=1.25)
    training.append_event("samples", step=20, answers=[{**ANSWER, "text": "An early answer."}])
    training.append_event("samples", step=40, answers=answers)
    with open(training.path / "attempts.jsonl", "w", encoding="utf-8") as lines:
        versions = {"twinctl": "0.1.0", "unsloth": "2026.10.9"}
        first = {"attempt": 1, "host": "janes-laptop", "pid": 4711, "argv": ["train", "/home/jane/x"], "options": {}}
        device = {"device_name": "NVIDIA H200", "dtype": "bfloat16", "optimizer": "adamw_8bit", "packing": True}
        split = {"micro_batch": 2, "accumulation": 8}
        for line in ({**first, "versions": versions}, {"attempt": 1, **device, **split}):
            lines.write(json.dumps(line) + "\n")
