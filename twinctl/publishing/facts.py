"""What a card is made from: the result, and everything that it was made from.

What must stay true: all of it comes from records and events of the workspace; a result whose base, data or training is
not there any more has no card, since half of it would be guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from twinctl.config.sampling import Sampling
from twinctl.errors import ConfigError, UpstreamError
from twinctl.pipeline.base_checkpoint import BUNDLED, BaseCheckpoint
from twinctl.pipeline.kind import Kind, is_training
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.publishing.history import History
from twinctl.publishing.hub_manifest import TrainEnv
from twinctl.publishing.provenance import lineage, original_record, train_env
from twinctl.workspace.artifact import Artifact, Record

ANYBODY = "OWNER/NAME"
GGUF_NAME = "twin-q8_0.gguf"
"""What the card calls the GGUF file that its reader makes from an adapter or a model."""


@dataclass(frozen=True)
class Facts:
    """What a card says of one twin. `results`: what the repository holds, one result or several GGUF files; `line`:
    what they were made from, nearest first; a pulled result as it was where it was made. `training`: where its events
    are.
    `merged_repo`: where the 16-bit model is on the Hub, if it is. `modelfile`: Ollama's Modelfile; None where it cannot
    express the chat template.
    """

    run: str
    kind: str
    repo: str
    merged_repo: str | None
    base: BaseCheckpoint
    results: Sequence[Record]
    line: Sequence[Record]
    tokens: Record
    eos: str | None
    training: Artifact
    train: Record
    modelfile: str | None

    @property
    def name(self) -> str:
        """What it is called: the repository's name, or the run's."""
        return self.run if self.repo == ANYBODY else self.repo.rpartition("/")[2]

    @property
    def method(self) -> str:
        """lora, qlora or full."""
        return str(self.train.recipe.get("method", "lora"))

    @property
    def template(self) -> str:
        """alpaca, chatml, llama3 or model."""
        return str(self.tokens.recipe.get("template", "model"))

    @property
    def is_bundled(self) -> bool:
        """Whether the base is the demo's."""
        return self.base.locator == BUNDLED

    @property
    def files(self) -> list[str]:
        """The names of all files of what is sent."""
        return [entry.name for record in self.results for entry in record.files]

    @cached_property
    def history(self) -> History:
        """How training went."""
        return History.read(self.training, self.train.metrics.get("best_step"))

    @cached_property
    def train_env(self) -> TrainEnv:
        """What the last attempt at training noted: device, dtype, optimizer, the batch's split, versions."""
        return train_env(self.training)


def gather(
    view: RunView,
    kind: Kind,
    repo: str | None,
    *,
    results: Sequence[Result] | None = None,
    merged_repo: str | None = None,
) -> Facts:
    """The facts of the run's result of a kind: adapter, model or gguf; of `results`, if something else is sent.

    Raises UpstreamError when it, or what it was made from, is not there.
    """
    sent = list(results or (gguf_results(view) if kind == Kind.GGUF else ())) or [view.need(kind)]
    steps = list(lineage(sent[0]))
    training = next((step for step in steps if is_training(step.record)), None)
    if training is None:
        raise UpstreamError(
            f"the training of run “{view.name}” is not there any more, and the card tells of it",
            f"make it again: twinctl train --run {view.name}",
        )
    tokens = sent[0].made_from(Kind.TOKENS)
    view.require_base(sent[0].base_digest)
    info = tokens.tokens_info()
    return Facts(
        run=view.name,
        kind=kind,
        repo=repo or ANYBODY,
        merged_repo=merged_repo,
        base=view.base,
        results=[original_record(result) for result in sent],
        line=[step.record for step in steps[1:]],
        tokens=next((step.record for step in steps if step.kind == Kind.TOKENS), tokens.record),
        eos=info.eos,
        training=training.artifact,
        train=training.record,
        modelfile=_modelfile(kind, sent[0].artifact.out, info.max_length),
    )


def _modelfile(kind: Kind, folder: Path, context: int) -> str | None:
    """That of the exported GGUF file; for a model or an adapter, one for a file that is called `GGUF_NAME`."""
    from twinctl.ollama.chat_format import read_chat_format
    from twinctl.ollama.modelfile import FILE_NAME, WRITES_THE_DATE, check_modelfile, modelfile, parameters_of

    if kind == Kind.GGUF:
        path = folder / FILE_NAME
        return path.read_text(encoding="utf-8") if path.is_file() else None
    try:
        chat = read_chat_format(folder)
        text = modelfile(chat, GGUF_NAME, parameters_of(Sampling(), context))
        check_modelfile(text, chat)
    except ConfigError:
        return None
    return text if WRITES_THE_DATE not in chat.template.text else None  # the card would change with the day


def gguf_results(view: RunView) -> list[Result]:
    """All GGUF files of the run that were made from the model that the newest was made from, the largest first."""
    newest = view.find(Kind.GGUF)
    if newest is None:
        return []
    model = original_record(newest).inputs.get("model")
    files = {result.path: result for result in view.results() if result.kind == Kind.GGUF}
    same = [result for result in files.values() if original_record(result).inputs.get("model") == model]
    return sorted(same, key=lambda result: -result.record.size)
