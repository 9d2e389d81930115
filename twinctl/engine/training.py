"""Supervised fine-tuning through Unsloth's FastLanguageModel and TRL's SFTTrainer.

What must stay true: rows go in as prepared; the same command resumes from the last complete checkpoint with the same
losses; what the backend changed is recorded; memory that runs out costs the steps since the last checkpoint, no more.
"""

from __future__ import annotations

import gc
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.config.train import TrainOptions, TrainRecipe, TrainSettings, every
from twinctl.data.tokens import EVAL, TRAIN
from twinctl.engine.comet_callback import begin_tracking
from twinctl.engine.evaluation import Evaluations, evaluation_loss
from twinctl.engine.health import Health
from twinctl.engine.loading import load_to_train
from twinctl.engine.models import peak_memory_gib, save_model
from twinctl.engine.private_apis import load_checkpoint_weights
from twinctl.engine.progress import TrainingProgress
from twinctl.engine.rows import PackedCollator, require_segments, rows_of
from twinctl.engine.samples import Samples
from twinctl.engine.sft_config import sft_config
from twinctl.engine.training_inputs import TrainInputs
from twinctl.engine.unsloth_import import start_unsloth
from twinctl.errors import CheckFailed, ConfigError, EngineError
from twinctl.pipeline.checkpoints import drop_after, last_complete, step_of
from twinctl.pipeline.phase import Attempt, Produced, RestartWorker
from twinctl.planning.batch_plan import fit, smaller, try_longest_rows
from twinctl.wording import first_line
from twinctl.workspace.files import read_json, write_json

if TYPE_CHECKING:
    from twinctl.engine.callbacks import WatchTraining

MUST_AGREE = ("device", "dtype", "optimizer", "packing")
SAVE_SECONDS = 10.0  # what it may take to save the result


def train(attempt: Attempt[TrainRecipe, TrainOptions, TrainInputs]) -> Produced:
    """Train and leave the adapter (or the whole model, by method full) in the attempt's `out`.

    Raises RestartWorker (memory ran out: in a fresh process, with a smaller micro-batch), EngineError (memory that
    no smaller split saves, device), ConfigError (a resume that cannot be exact), CheckFailed (the training went wrong),
    Interrupted after a checkpoint when asked to stop.
    """
    began = time.monotonic()
    recipe, options, forecast = attempt.recipe, attempt.options, attempt.inputs.forecast
    choice = forecast["choice"]
    planned_checkpointing = ("auto", "on" if choice["checkpointing"] else "off")
    is_planned = options.micro_batch in ("auto", choice["micro_batch"])
    if is_planned and options.gradient_checkpointing in planned_checkpointing:
        attempt.event("plan", **forecast)  # not after memory ran out: the event `retry` then has the new split
    for text in forecast["warnings"]:
        attempt.event("warning", text=text)
    attempt.stage("loading Unsloth")
    unsloth = start_unsloth(options.device)
    import torch

    training = TrainingAttempt(attempt, TrainSettings(recipe=recipe, options=options), unsloth, began)
    try:
        return training.run()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise training.with_less_memory(error) from error


class TrainingAttempt:
    """One attempt at training, from loading to saving."""

    def __init__(
        self,
        attempt: Attempt[TrainRecipe, TrainOptions, TrainInputs],
        settings: TrainSettings,
        unsloth: Any,
        began: float,
    ) -> None:
        self._attempt, self._settings, self._unsloth, self._began = attempt, settings, unsloth, began
        self._recipe, self._options = settings.recipe, settings.options
        self._tokens, self._base = attempt.inputs.tokens, attempt.inputs.base
        self._max_length = attempt.inputs.info.max_length
        self._checkpoints = attempt.work / "checkpoints"
        self._split = fit(settings, self._base, self._max_length)

    def run(self) -> Produced:
        """Load, evaluate the base, train from the last checkpoint or the start, evaluate, save."""
        self._attempt.stage("loading the model")
        self.load()
        resume = last_complete(self._checkpoints)
        trainer, watcher = self._trainer(resume)
        self._record_facts(trainer, resumed=resume is not None)
        base_eval_loss = self._base_loss()
        self._tracker = watcher.tracker = begin_tracking(self._attempt, self._recipe, self._options)
        if self._options.max_time is not None:  # minus the time to evaluate and save at the end
            at_the_end = 2 * self._evaluations.seconds + SAVE_SECONDS
            watcher.deadline = self._began + self._options.max_time - at_the_end
        at = step_of(resume) if resume else 0
        self._attempt.stage(f"training from step {at} of {self._steps}")
        try:
            with self._attempt.stop.deferred():
                self._train(trainer, resume)
        finally:
            if self._tracker:
                self._tracker.end()
        step = trainer.state.global_step
        if self._attempt.stop.requested is not None:
            raise self._attempt.stop.error(f"stopped at step {step}; a checkpoint is kept")
        eval_loss = self._save_result(step)
        metrics = self._metrics(trainer, watcher, resume, base_eval_loss, eval_loss)
        is_cut = watcher.out_of_time and not self._progress.ended
        cut = self._recipe.model_copy(update={"stop_at": step}) if is_cut else None
        return Produced(metrics=metrics, warnings=self._warnings(step), carried_out=cut)

    def load(self) -> None:
        """Load the model that is to be trained, with its tokenizer; a test measures it without training."""
        import torch

        self._model, self._tokenizer = load_to_train(self._unsloth, self._recipe, self._split, self._attempt.inputs)
        kind = self._model.device.type
        name = torch.cuda.get_device_name(self._model.device) if kind == "cuda" else "cpu"
        dtype = str(self._model.dtype).removeprefix("torch.")
        self._facts = {"device": kind, "device_name": name, "dtype": dtype}  # what the model really runs on

    def _train(self, trainer: Any, resume: Path | None) -> None:
        """Train from the checkpoint, or the start; a checkpoint of the last step is only loaded."""
        from transformers import TrainerState

        if resume:
            state = TrainerState.load_from_json(str(resume / "trainer_state.json"))
            if state.global_step >= state.max_steps or self._progress.ended:
                load_checkpoint_weights(trainer, resume)
                trainer.state = state
                return
        gc.collect()
        gc.freeze()  # the libraries' objects stay: collecting among them makes steps slower
        try:
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        except CheckFailed as error:  # what was saved after the training went wrong is removed
            drop_after(self._checkpoints, self._health.last_good)
            checkpoint = last_complete(self._checkpoints)
            rest = "no checkpoint was written before"
            if checkpoint:
                rest = f"the checkpoint of step {step_of(checkpoint)} is kept"
            raise CheckFailed(f"{error.message}; {rest}", error.hint) from error

    def _trainer(self, resume: Path | None) -> tuple[Any, WatchTraining]:
        from transformers import PrinterCallback
        from trl import SFTTrainer

        from twinctl.engine.callbacks import TokenCounter, WatchTraining

        on_cpu, packing = self._facts["device"] == "cpu", self._recipe.packing
        max_length, options = self._max_length, self._options
        rows = self._rows(TRAIN)
        self._steps, _ = self._recipe.steps(len(rows))
        trainer = SFTTrainer(
            model=self._model,
            processing_class=self._tokenizer,
            train_dataset=rows,
            data_collator=PackedCollator() if on_cpu and packing else None,
            args=sft_config(
                self._recipe,
                self._checkpoints,
                dtype=self._facts["dtype"],
                max_length=max_length,
                micro_batch=self._split.micro_batch,
                checkpointing=self._split.checkpointing,
                library_packing=packing and not on_cpu,
                save_steps=every(options.save_every, self._steps),
                keep=options.keep,
            ),
        )
        if packing:
            require_segments(trainer.data_collator([dict(rows[0])]))
        if self._recipe.method == "qlora":
            for weight in self._model.parameters():  # TRL makes them 16-bit on a CPU; a checkpoint's are 32-bit
                weight.data = weight.data.float() if weight.requires_grad else weight.data
        trainer.accelerator.prepare(self._model)  # as train() does later: it decides how losses are rounded
        trainer.remove_callback(PrinterCallback)
        self._progress = TrainingProgress.load(resume)
        self._evaluations = self._evaluating(trainer, trainer.data_collator)
        counter = TokenCounter(trainer.data_collator)
        trainer.data_collator = counter
        begins = step_of(resume) if resume else 0
        self._health = Health(self._model.config.vocab_size, float16=self._facts["dtype"] == "float16", begins=begins)
        watcher = WatchTraining(self._attempt, counter, self._progress, self._health, self._evaluations)
        watcher.stop_at = self._recipe.stop_at
        if not packing:  # packed rows are all of one length, so the first step shows whether memory suffices
            watcher.try_the_worst = partial(try_longest_rows, trainer)
        trainer.add_callback(watcher)
        return trainer, watcher

    def _rows(self, split: str) -> Any:
        return rows_of(
            self._tokens,
            split,
            packing=self._recipe.packing,
            max_length=self._max_length,
            pad_id=self._tokenizer.pad_token_id,
        )

    def _evaluating(self, trainer: Any, collate: Any) -> Evaluations:
        """Evaluations row by row: no more memory than the smallest micro-batch takes, and the same shapes each time."""
        held_out = self._rows(EVAL)

        def loss() -> float | None:
            batches = (collate([row]) for row in held_out)
            context = trainer.compute_loss_context_manager()
            return evaluation_loss(self._model, batches, context)

        return Evaluations(
            self._attempt,
            self._recipe,
            self._progress,
            interval=every(self._settings.evaluate_every, self._steps),
            loss=loss,
            answers=Samples(self._model, self._tokenizer, self._tokens, count=self._options.samples).answer,
            save=self._save,
        )

    def _record_facts(self, trainer: Any, *, resumed: bool) -> None:
        """Record what took effect. Raises ConfigError for a resume whose losses would not be those of one run."""
        facts = {
            **self._facts,
            "optimizer": str(getattr(trainer.args.optim, "value", trainer.args.optim)),
            "packing": self._recipe.packing,
            "micro_batch": self._split.micro_batch,
            "accumulation": self._recipe.batch_size // self._split.micro_batch,
            "gradient_checkpointing": self._split.checkpointing,
            "world_size": trainer.args.world_size,
        }
        before = next((a for a in reversed(self._attempt.artifact.attempts()) if "device" in a), None)
        if resumed and before:
            # Packed on a GPU, NEFTune's noise is scaled by the length of the forward pass.
            names = (*MUST_AGREE, "micro_batch") if self._recipe.neftune_alpha else MUST_AGREE
            changed = [f"{name} {before[name]} → {facts[name]}" for name in names if before[name] != facts[name]]
            if changed:
                raise ConfigError(
                    f"the checkpoint was made differently: {', '.join(changed)}",
                    "start over with --restart, or resume where it began",
                )
        self._attempt.note(**facts)
        self._attempt.event("facts", **facts, why=self._split.why)

    def _base_loss(self) -> float | None:
        """The loss on the held-out rows before step 1: of the base, or of the parent that is trained on. It is stored,
        since a resume cannot measure it again.
        """
        stored = self._attempt.work / "base-eval.json"
        if not stored.exists():
            self._attempt.stage("evaluating what it begins from")
            write_json(stored, {"loss": self._evaluations.evaluate(0)})
            return self._progress.eval_loss
        loss: float | None = read_json(stored)["loss"]
        self._attempt.event("evaluation", step=0, eval_loss=loss)
        return loss

    def with_less_memory(self, error: BaseException) -> Exception:
        """What to raise when memory ran out: RestartWorker with a smaller split, or EngineError if there is none."""
        options = smaller(self._settings, self._split)
        if options is None:
            return EngineError(
                f"out of memory: {first_line(error)}",
                "use --method qlora, or shorter rows: twinctl prepare --max-length",
            )
        instead = f"a micro-batch of {options.micro_batch}"
        if options.micro_batch == self._split.micro_batch:
            instead = "gradient checkpointing"
        return RestartWorker(
            options, f"out of memory with a micro-batch of {self._split.micro_batch}; continuing with {instead}"
        )

    def _save_result(self, step: int) -> float | None:
        """Save the best weights, or those of the last step, which is evaluated if it was not yet. The result's loss."""
        if self._progress.eval_step != step:
            self._attempt.stage("evaluating")
            self._evaluations.evaluate(step)
        self._attempt.stage("saving")
        if best := self._evaluations.best:
            shutil.copytree(best, self._attempt.out, dirs_exist_ok=True)
            return self._progress.best_loss
        self._save(self._attempt.out)
        return self._progress.eval_loss

    def _save(self, out: Path) -> None:
        save_model(self._model, self._tokenizer, out, base_name=self._attempt.inputs.base_name)

    def _metrics(
        self, trainer: Any, watcher: WatchTraining, resume: Path | None, base: float | None, final: float | None
    ) -> dict[str, Any]:
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        progress = watcher.progress
        pace = progress.pace()
        return {
            "steps": trainer.state.global_step,
            "epochs": round(trainer.state.epoch or 0.0, 4),
            "train_loss": sum(losses) / len(losses) if losses else None,
            "last_loss": losses[-1] if losses else None,
            "eval_loss": final,
            "base_eval_loss": base,
            "best_step": progress.best_step if self._evaluations.best else None,
            "tokens": progress.tokens,
            "tokens_per_second": round(pace, 1) if pace else None,
            "peak_memory_gib": max(progress.peak_memory_gib, peak_memory_gib()),
            "seconds": round(progress.seconds, 3),
            "resumed_from": step_of(resume) if resume else None,
        }

    def _warnings(self, step: int) -> list[str]:
        warnings = [self._tracker.warning] if self._tracker and self._tracker.warning else []
        wanted = self._recipe.optimizer
        used = next((a["optimizer"] for a in reversed(self._attempt.artifact.attempts()) if "optimizer" in a), wanted)
        if used != wanted:
            warnings.append(f"the backend used {used} instead of {wanted}")
        if step < self._steps:
            warnings.append(f"it ended at step {step} of {self._steps}")
        return warnings
