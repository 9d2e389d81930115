"""The output of the trained model, kept on disk so that no file's check needs it loaded again; and that of a file.

What must stay true: distributions are kept at the reference's most probable tokens and as one rest, both from one
normalisation, so that a divergence over them is exact for those parts and never more than the true one; nothing is
pickled; the folder holds people's writing, so it is never part of a result that is handed out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from twinctl.errors import UpstreamError
from twinctl.verification.probes import TokenizerProbe
from twinctl.workspace.files import read_json, replace_atomically, write_json

Ids = NDArray[np.int32]
TOP_TOKENS = 256  # most probable tokens a position
_ARRAYS, _FACTS = "reference.npz", "reference.json"


@dataclass(frozen=True)
class GreedyAnswers:
    """Greedy answers in the prompts' order, stop tokens included. `ended`: by a stop token; `cut`: for lack of time."""

    ids: list[list[int]]
    ended: list[bool]
    cut: list[bool]


@dataclass(frozen=True)
class Reference:
    """The output of the trained model. `top` and `log_probs`: (positions, TOP_TOKENS) ids, most probable first, and
    their natural log-probabilities, for each position of the rows in turn; `base`: its base's at the same tokens, None
    where there is no separate base.

    `stop`: the id that it was trained to end with; `stops`: all that end its answers. `rotary`: the inverse frequencies
    that its layers rotate by.
    """

    split: str
    rows: list[list[int]]
    top: Ids
    log_probs: NDArray[np.float32]
    base: NDArray[np.float32] | None
    prompts: list[list[int]]
    answers: GreedyAnswers
    limit: int
    probes: list[TokenizerProbe]
    probe_ids: list[list[int]]
    stop: int
    stops: list[int]
    rotary: list[list[float]]
    facts: dict[str, str | float] = field(default_factory=dict)  # the device, and how many seconds it took

    def save(self, folder: Path) -> None:
        """Write it to a folder for `load`: whole, or not at all."""
        partial = folder.with_name(f"{folder.name}.partial")
        for left_over in (partial, folder):
            shutil.rmtree(left_over, ignore_errors=True)
        partial.mkdir(parents=True)
        ragged = {"rows": self.rows, "prompts": self.prompts, "answers": self.answers.ids, "probe_ids": self.probe_ids}
        flat = {f"{name}{part}": array for name, lists in ragged.items() for part, array in _flat(lists)}
        arrays: dict[str, Any] = {"top": self.top, "log_probs": self.log_probs, **flat}
        if self.base is not None:
            arrays["base"] = self.base
        np.savez_compressed(partial / _ARRAYS, **arrays)
        names = ("split", "limit", "stop", "stops", "rotary", "facts")
        facts: dict[str, Any] = {name: getattr(self, name) for name in names}
        facts |= {"ended": self.answers.ended, "cut": self.answers.cut}
        facts["probes"] = [asdict(probe) for probe in self.probes]
        write_json(partial / _FACTS, facts)
        replace_atomically(partial, folder)

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read what `save` wrote. Raises UpstreamError if it is missing or damaged."""
        try:
            with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
                facts = read_json(folder / _FACTS)
                return cls(
                    **{key: value for key, value in facts.items() if key not in ("ended", "cut", "probes")},
                    rows=_ragged(arrays, "rows"),
                    top=arrays["top"],
                    log_probs=arrays["log_probs"],
                    base=arrays.get("base"),
                    prompts=_ragged(arrays, "prompts"),
                    answers=GreedyAnswers(_ragged(arrays, "answers"), facts["ended"], facts["cut"]),
                    probes=[TokenizerProbe(**probe) for probe in facts["probes"]],
                    probe_ids=_ragged(arrays, "probe_ids"),
                )
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise UpstreamError(
                f"{folder} does not hold what the trained model said: {error}", "twinctl export --restart"
            ) from error


@dataclass(frozen=True)
class ModelOutput:
    """The output of a file that was asked what the reference was asked.

    `log_probs`: at the reference's `top`, for as many positions as there was time for; `best`: its own most probable
    token there. `stop_ids`: the ids that end its answers, by the source that names them. `rotary`: the inverse
    frequencies that its layers rotate by, where the runtime tells them.
    """

    log_probs: NDArray[np.float64]
    best: Ids
    answers: GreedyAnswers
    probe_ids: list[list[int]]
    stop_ids: Mapping[str, Sequence[int | None]] = field(default_factory=dict)
    rotary: Sequence[Sequence[float]] = ()

    def save(self, folder: Path) -> None:
        """Write it to a folder for `load`."""
        np.savez(folder / "output.npz", log_probs=self.log_probs, best=self.best)
        others = {"probe_ids": self.probe_ids, "stop_ids": self.stop_ids, "rotary": self.rotary}
        write_json(folder / "output.json", {"answers": asdict(self.answers), **others})

    @classmethod
    def load(cls, folder: Path) -> ModelOutput:
        """Read what `save` wrote."""
        others = read_json(folder / "output.json")
        answers = GreedyAnswers(**others.pop("answers"))
        with np.load(folder / "output.npz", allow_pickle=False) as arrays:
            return cls(arrays["log_probs"], arrays["best"], answers, **others)


def at(logits: NDArray[Any], ids: Ids) -> tuple[NDArray[np.float64], Ids]:
    """Log-probabilities at the ids, and each row's best token, of (rows, vocabulary) raw logits."""
    wide = logits.astype(np.float64)
    peak = wide.max(axis=1, keepdims=True)
    total = np.log(np.exp(wide - peak).sum(axis=1, keepdims=True)) + peak
    return np.take_along_axis(wide, ids.astype(np.intp), axis=1) - total, logits.argmax(axis=1).astype(np.int32)


def _flat(lists: Sequence[Iterable[int]]) -> list[tuple[str, NDArray[Any]]]:
    """Lists of ids as two arrays, by the ending of their name: all ids, and where each list ends."""
    arrays = [np.fromiter(ids, np.int32) for ids in lists]
    ends = np.cumsum([0, *map(len, arrays)])
    return [("", np.concatenate([np.zeros(0, np.int32), *arrays])), ("_ends", ends)]


def _ragged(arrays: Any, name: str) -> list[list[int]]:
    """The lists that `_flat` made two arrays of."""
    values, ends = arrays[name], arrays[f"{name}_ends"].tolist()
    return [values[start:end].tolist() for start, end in pairwise(ends)]
