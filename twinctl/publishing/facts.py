"""What a card is made from: the result, and everything that it was made from.

What must stay true: all of it comes from records and events of the workspace; a result whose base, data or training is
not there any more has no card, since half of it would be guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from twinctl.data.tokens import TokensInfo
from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import BUNDLED, BaseCheckpoint, base_of
from twinctl.pipeline.lineage import Found, base_digest, find, made_from, need
from twinctl.publishing.history import History
from twinctl.publishing.provenance import lineage, original_record, train_env
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

ANYBODY = "OWNER/NAME"


@dataclass(frozen=True)
class Facts:
    """One twin as it is to be told of. `made`: what the repository holds, one result or several GGUF files; `line`:
    what they were made from, nearest first; what was pulled, as it was where it was made. `training`: where its events
    are. `merged_repo`: where the 16-bit model is on the Hub, if it is.
    """

    run: str
    kind: str
    repo: str
    merged_repo: str | None
    base: BaseCheckpoint
    made: Sequence[Record]
    line: Sequence[Record]
    tokens: Record
    eos: str | None
    training: Artifact
    train: Record

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
    def is_on_hub(self) -> bool:
        """Whether others can load the base by its id."""
        return self.base.repo is not None

    @property
    def is_bundled(self) -> bool:
        """Whether the base is the demo's."""
        return self.base.locator == BUNDLED

    @property
    def files(self) -> list[str]:
        """The names of all files of what is sent."""
        return [entry["name"] for record in self.made for entry in record.files]

    @cached_property
    def history(self) -> History:
        """How training went."""
        return History.read(self.training, self.train)

    @cached_property
    def train_env(self) -> dict[str, Any]:
        """What the last attempt at training noted: device, dtype, optimizer, the batch's split, versions."""
        return train_env(self.training)


def gather(
    workspace: Workspace,
    run: Run,
    kind: str,
    repo: str | None,
    *,
    made: Sequence[Found] | None = None,
    merged_repo: str | None = None,
) -> Facts:
    """The facts of the run's result of a kind: adapter, model or gguf; of `made`, if something else is sent.

    Raises UpstreamError when it, or what it was made from, is not there.
    """
    sent = list(made) if made else _results(workspace, run, kind)
    steps = list(lineage(workspace, sent[0]))
    training = next((step for step in steps if "method" in step[1].recipe), None)
    if training is None:
        raise _gone(run, "training", "train")
    _, tokens, there = made_from(workspace, sent[0][2], "tokens")
    base = base_of(run)
    if base_digest(workspace, sent[0][2]) != base.digest:
        raise UpstreamError(
            f"the training of run “{run.name}” was on another base model than the run now has",
            f"train again: twinctl train --run {run.name}",
        )
    return Facts(
        run=run.name,
        kind=kind,
        repo=repo or ANYBODY,
        merged_repo=merged_repo,
        base=base,
        made=[original_record(workspace, each) for each in sent],
        line=[record for _, record in steps[1:]],
        tokens=next((record for _, record in steps if record.produces == "tokens"), there),
        eos=TokensInfo.read(tokens.out, int(there.recipe.get("max_length", 0))).eos,
        training=training[0],
        train=training[1],
    )


def gguf_results(workspace: Workspace, run: Run) -> list[Found]:
    """All GGUF files of the run that were made from the model that the newest was made from, the largest first."""
    newest = find(workspace, run, "gguf")
    if newest is None:
        return []
    found = [(path, workspace.artifact(path)) for path in dict.fromkeys(run.slots.values())]
    files = [(path, artifact, record) for path, artifact in found if (record := artifact.record()) is not None]
    model = original_record(workspace, newest).inputs.get("model")
    same = [
        each
        for each in files
        if each[2].produces == "gguf" and original_record(workspace, each).inputs.get("model") == model
    ]
    return sorted(same, key=lambda each: -size_of(each[2]))


def size_of(record: Record) -> int:
    """Bytes of all its files."""
    return sum(int(entry["bytes"]) for entry in record.files)


def _results(workspace: Workspace, run: Run, kind: str) -> list[Found]:
    if kind == "gguf" and (found := gguf_results(workspace, run)):
        return found
    return [need(workspace, run, kind)]


def _gone(run: Run, what: str, command: str) -> UpstreamError:
    return UpstreamError(
        f"the {what} of run “{run.name}” is not there any more, and the card tells of it",
        f"make it again: twinctl {command} --run {run.name}",
    )
