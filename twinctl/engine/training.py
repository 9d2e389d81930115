"""Supervised fine-tuning through Unsloth's FastLanguageModel and TRL's SFTTrainer.

What must stay true: every argument is passed explicitly (Unsloth's GPU trainer has other defaults than TRL); rows go
in as prepared; the same command goes on from the last whole checkpoint with the same losses; what the backend changed
is recorded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.engine.checkpoints import last_whole, step_of
from twinctl.engine.evaluation import evaluation_loss
from twinctl.engine.models import device_facts, dress, load_model, peak_memory_gib, stop_at
from twinctl.engine.rows import PackedCollator, require_segments, training_rows
from twinctl.engine.start import start
from twinctl.engine.tracked import begin_tracking
from twinctl.errors import ConfigError, EngineError
from twinctl.phases.base import Attempt, Result
from twinctl.recipes.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.workspace.files import read_json, write_json

if TYPE_CHECKING:
    from twinctl.engine.callbacks import WatchTraining

MUST_AGREE = ("device", "dtype", "optimizer", "packing")


def train(attempt: Attempt) -> Result:
    """Train and leave the adapter (or the whole model, by method full) in the attempt's `out`.

    Raises EngineError (memory, device), ConfigError (a resume that cannot be exact), CheckFailed (loss is not a
    number), Interrupted after a checkpoint when asked to stop.
    """
    recipe, options = attempt.recipe, attempt.options
    assert isinstance(recipe, TrainRecipe) and isinstance(options, TrainOptions)
    attempt.stage("loading Unsloth")
    unsloth = start(options.device)
    import torch

    try:
        return Training(attempt, TrainSettings(recipe=recipe, options=options), unsloth).run()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(
            f"out of memory: {error}", "use --micro-batch 1, --gradient-checkpointing on or --method qlora"
        ) from error


class Training:
    """One attempt at training, from loading to saving."""

    def __init__(self, attempt: Attempt, settings: TrainSettings, unsloth: Any) -> None:
        self._attempt, self._settings, self._unsloth = attempt, settings, unsloth
        self._recipe, self._options = settings.recipe, settings.options
        self._tokens = Path(attempt.inputs["tokens"])
        self._checkpoints = attempt.work / "checkpoints"

    def run(self) -> Result:
        """Load, evaluate the base, train on from where it stopped, evaluate, save."""
        self._load()
        resume = last_whole(self._checkpoints)
        trainer, watcher = self._trainer(resume)
        self._record_facts(trainer, resumed=resume is not None)
        base_eval_loss = self._base_loss(trainer)
        self._tracker = begin_tracking(self._attempt, self._recipe, self._options)
        watcher.tracker = self._tracker
        self._attempt.stage(f"training from step {step_of(resume) if resume else 0} of {watcher.steps(trainer)}")
        try:
            with self._attempt.stop.deferred():
                self._train(trainer, resume)
        finally:
            if self._tracker:
                self._tracker.end()
        if self._attempt.stop.requested is not None:
            raise self._attempt.stop.error(f"stopped at step {trainer.state.global_step}; a checkpoint is kept")
        self._attempt.stage("evaluating")
        eval_loss = self._loss(trainer)
        self._save()
        return Result(
            metrics=self._metrics(trainer, watcher, resume, base_eval_loss, eval_loss), warnings=self._warnings()
        )

    def _train(self, trainer: Any, resume: Path | None) -> None:
        """Go on from the checkpoint. From one of the last step the trainer would take a step too many."""
        from transformers import TrainerState

        if resume:
            state = TrainerState.load_from_json(str(resume / "trainer_state.json"))
            if state.global_step >= state.max_steps:
                trainer._load_from_checkpoint(str(resume))
                trainer.accelerator.prepare_model(trainer.model)  # as training does: it decides how losses are rounded
                trainer.state = state
                return
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    def _load(self) -> None:
        self._attempt.stage("loading the model")
        recipe = self._recipe
        self._model, self._tokenizer = load_model(
            self._unsloth,
            Path(self._attempt.inputs["base"]),
            max_length=self._attempt.inputs["max_length"],
            dtype=recipe.dtype,
            method=recipe.method,
            seed=recipe.seed,
        )
        self._facts = device_facts(self._model)
        self._checkpointing = {"on": True, "off": False}.get(
            self._options.gradient_checkpointing, self._facts["device"] != "cpu"
        )
        if recipe.method != "full":
            self._model = self._unsloth.FastLanguageModel.get_peft_model(
                self._model,
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                bias=recipe.bias,
                target_modules=list(recipe.target_modules),
                use_gradient_checkpointing="unsloth" if self._checkpointing else False,
                random_state=recipe.seed,
                max_seq_length=self._attempt.inputs["max_length"],
            )
        dress(self._tokenizer, self._attempt.inputs["template"], self._attempt.inputs["eos"])
        stop_at(self._model.generation_config, self._tokenizer.eos_token_id)

    def _trainer(self, resume: Path | None) -> tuple[Any, WatchTraining]:
        from transformers import PrinterCallback
        from trl import SFTTrainer

        from twinctl.engine.callbacks import Progress, TokenCounter, WatchTraining

        on_cpu = self._facts["device"] == "cpu"
        rows = training_rows(
            self._tokens,
            packing=self._recipe.packing,
            max_length=self._attempt.inputs["max_length"],
            pad_id=self._tokenizer.pad_token_id,
        )
        trainer = SFTTrainer(
            model=self._model,
            processing_class=self._tokenizer,
            train_dataset=rows,
            data_collator=PackedCollator() if on_cpu and self._recipe.packing else None,
            args=self._arguments(library_packing=self._recipe.packing and not on_cpu),
        )
        if self._recipe.packing:
            require_segments(trainer.data_collator([dict(rows[0])]))
        trainer.remove_callback(PrinterCallback)
        counter = TokenCounter(trainer.data_collator)
        trainer.data_collator = counter
        watcher = WatchTraining(self._attempt, counter, Progress.load(resume))
        trainer.add_callback(watcher)
        return trainer, watcher

    def _arguments(self, *, library_packing: bool) -> Any:
        from trl import SFTConfig

        recipe, options, dtype = self._recipe, self._options, self._facts["dtype"]
        return SFTConfig(
            output_dir=str(self._checkpoints),
            per_device_train_batch_size=self._settings.micro_batch,
            gradient_accumulation_steps=self._settings.accumulation,
            num_train_epochs=recipe.epochs,
            max_steps=recipe.max_steps or -1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.scheduler,
            warmup_steps=recipe.warmup_steps,
            weight_decay=recipe.weight_decay,
            optim=recipe.optimizer,
            adam_beta1=0.9,
            adam_beta2=0.999,
            adam_epsilon=1e-8,
            max_grad_norm=1.0,
            seed=recipe.seed,
            data_seed=recipe.seed,
            bf16=dtype == "bfloat16",
            fp16=dtype == "float16",
            gradient_checkpointing=self._checkpointing,
            max_length=self._attempt.inputs["max_length"],
            packing=library_packing,
            packing_strategy="bfd",
            padding_free=False,
            pad_to_multiple_of=64 if library_packing else None,
            completion_only_loss=False,
            assistant_only_loss=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            dataloader_num_workers=0,
            dataloader_drop_last=False,
            eval_strategy="no",
            save_strategy="steps",
            save_steps=options.save_every,
            save_total_limit=options.keep,
            logging_strategy="steps",
            logging_steps=1,
            logging_nan_inf_filter=False,
            include_num_input_tokens_seen="no",
            disable_tqdm=True,
            report_to="none",
        )

    def _record_facts(self, trainer: Any, *, resumed: bool) -> None:
        """Write down what took effect; refuse a resume whose losses would not be those of one run."""
        facts = {
            **self._facts,
            "optimizer": str(getattr(trainer.args.optim, "value", trainer.args.optim)),
            "packing": self._recipe.packing,
            "micro_batch": self._settings.micro_batch,
            "accumulation": self._settings.accumulation,
            "gradient_checkpointing": self._checkpointing,
            "world_size": trainer.args.world_size,
        }
        before = next((a for a in reversed(self._attempt.artifact.attempts()) if "device" in a), None)
        if resumed and before:
            changed = [f"{name} {before[name]} → {facts[name]}" for name in MUST_AGREE if before[name] != facts[name]]
            if changed:
                raise ConfigError(
                    f"the checkpoint was made differently: {', '.join(changed)}",
                    "start over with --restart, or go on where it began",
                )
        self._attempt.note(**facts)
        self._attempt.event("facts", **facts)

    def _base_loss(self, trainer: Any) -> float | None:
        """The base's loss on the held-out rows: before step 1 the model is the base. Kept, since a resume cannot ask
        again.
        """
        kept = self._attempt.work / "base-eval.json"
        if not kept.exists():
            self._attempt.stage("evaluating the base model")
            write_json(kept, {"loss": self._loss(trainer)})
        loss: float | None = read_json(kept)["loss"]
        self._attempt.event("evaluation", step=0, eval_loss=loss)
        return loss

    def _loss(self, trainer: Any) -> float | None:
        return evaluation_loss(
            self._model,
            self._tokens,
            batch_size=self._settings.micro_batch,
            pad_id=self._tokenizer.pad_token_id,
            context=trainer.compute_loss_context_manager(),
        )

    def _save(self) -> None:
        self._attempt.stage("saving")
        out = self._attempt.out
        self._model.save_pretrained(out)
        self._tokenizer.save_pretrained(out)
        (out / "README.md").unlink(missing_ok=True)  # PEFT's card names the base by this machine's path
        config = out / "adapter_config.json"
        if config.exists():
            stored = json.loads(config.read_text(encoding="utf-8"))
            stored["base_model_name_or_path"] = self._attempt.inputs["base_name"]
            stored["target_modules"] = sorted(
                stored["target_modules"]
            )  # a set there: its order differs from run to run
            write_json(config, stored)
        shutil.rmtree(out / "__pycache__", ignore_errors=True)

    def _metrics(
        self, trainer: Any, watcher: WatchTraining, resume: Path | None, base: float | None, final: float | None
    ) -> dict[str, Any]:
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        progress = watcher.progress
        return {
            "steps": trainer.state.global_step,
            "epochs": round(trainer.state.epoch or 0.0, 4),
            "train_loss": sum(losses) / len(losses) if losses else None,
            "last_loss": losses[-1] if losses else None,
            "eval_loss": final,
            "base_eval_loss": base,
            "tokens": progress.tokens,
            "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
            "peak_memory_gib": max(progress.peak_memory_gib, peak_memory_gib()),
            "seconds": round(progress.seconds, 3),
            "resumed_from": step_of(resume) if resume else None,
        }

    def _warnings(self) -> list[str]:
        tracking = [self._tracker.warning] if self._tracker and self._tracker.warning else []
        before = self._recipe.optimizer
        used = next((a["optimizer"] for a in reversed(self._attempt.artifact.attempts()) if "optimizer" in a), before)
        return tracking + ([f"the backend used {used} instead of {before}"] if used != before else [])
