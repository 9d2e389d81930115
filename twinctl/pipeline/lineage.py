"""A finished result, and everything that it was made from.

What must stay true: a result is found by the paths in records, which are relative to artifacts/, so a workspace can be
moved; what was removed since is passed over, and an error only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twinctl.data.tokens import TokensInfo
from twinctl.errors import UpstreamError
from twinctl.pipeline.kind import Kind
from twinctl.workspace.artifact import Artifact, Record


@dataclass(frozen=True)
class Result:
    """A finished artifact with its record. `path`: its folder, relative to artifacts/."""

    path: str
    artifact: Artifact
    record: Record

    @classmethod
    def of(cls, artifact: Artifact) -> Result | None:
        """The artifact's result; None as long as it is not finished. Raises UpstreamError when it is damaged."""
        record = artifact.record()
        path = f"{artifact.path.parent.name}/{artifact.path.name}"
        return None if record is None else cls(path, artifact, record)

    @property
    def kind(self) -> str:
        """One of `Kind`, or a kind that a newer twinctl makes."""
        return self.record.produces

    @property
    def slot(self) -> str:
        """The name under which a run keeps it."""
        return self.record.slot

    @property
    def digest(self) -> str:
        """Its identity, by which later phases know it."""
        return self.record.digest

    @property
    def out(self) -> Path:
        """The folder of its files."""
        return self.artifact.out

    def parents(self) -> Iterator[Result]:
        """What it was made from, as far as it is still there."""
        for path in self.record.parents.values():
            if parent := Result.of(Artifact(self.artifact.path.parents[1] / path)):
                yield parent

    def ancestors(self) -> Iterator[Result]:
        """Everything that it was made from: each parent, followed by what that was made from."""
        for parent in self.parents():
            yield parent
            yield from parent.ancestors()

    def line(self) -> Iterator[Result]:
        """The result itself and its ancestors."""
        yield self
        yield from self.ancestors()

    def made_from(self, kind: Kind) -> Result:
        """The nearest ancestor of that kind. Raises UpstreamError when it is gone."""
        for ancestor in self.ancestors():
            if ancestor.kind == kind:
                return ancestor
        raise UpstreamError(
            f"the {kind} that the {self.slot} was made from are not there any more",
            f"make them again: twinctl {kind.command}",
        )

    def nearest(self, wanted: Callable[[Record], bool]) -> Result | None:
        """The first of its line whose record is wanted."""
        return next((result for result in self.line() if wanted(result.record)), None)

    @property
    def base_digest(self) -> str | None:
        """The identity of the base model that its training began from."""
        training = self.nearest(lambda record: "base" in record.inputs)
        return training.record.inputs["base"] if training else None

    def tokens_info(self) -> TokensInfo:
        """Template, longest sample and stop token of tokens; the first version wrote the longest into the recipe of
        prepare alone.
        """
        prepared = self.nearest(lambda record: "max_length" in record.recipe)
        return TokensInfo.read(self.out, prepared.record.recipe["max_length"] if prepared else 0)
