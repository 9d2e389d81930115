"""How far the output of a file is from that of the trained model.

What must stay true: the divergence is KL(trained ‖ file) over the reference's kept tokens and one rest. Coarser than
the whole vocabulary it can only be smaller than the true one, and the rest is small; both sides add up to one, so equal
distributions give zero and not what rounding left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinctl.verification.limits import TIE
from twinctl.verification.reference import GreedyAnswers, ModelOutput, Reference

_LEAST = 1e-12  # a rest's probability is a difference of sums: below this it is rounding


@dataclass(frozen=True)
class DistributionMetrics:
    """Over `positions` next-token distributions: the KL in nats, and how often both have the same most probable token.

    `agreed`: how often, if tokens that the trained model holds for equally probable (within `limits.TIE`) are one.
    `late`: the mean KL of the last quarter of the longest row, where a wrong rotary embedding shows first, over
    `late_positions`. `moved`: the mean KL of the base, which is what training did; `merged`: how many times that is in
    the file, so 1 is right, 0 is the base and 2 an adapter merged twice. None where there is no separate base.
    """

    positions: int
    longest: int
    kl: float
    kl_99: float
    kl_max: float
    late: float
    late_positions: int
    top1: float
    agreed: float
    moved: float | None
    merged: float | None

    def rounded(self) -> dict[str, float | None]:
        """The figures by name, to four significant digits."""
        return _rounded(asdict(self))


@dataclass(frozen=True)
class GenerationMetrics:
    """Greedy answers side by side. `agreed`: the share of the trained model's answer, on average, before the file says
    something else. `ending`: prompts that the trained model ends by itself and the file had time for; `ended`: of
    those, the ones that the file ends too.
    """

    prompts: int
    same: int
    agreed: float
    ending: int
    ended: int

    def rounded(self) -> dict[str, float | None]:
        """The figures by name, to four significant digits."""
        return _rounded(asdict(self))


def divergences(reference: NDArray[Any], output: NDArray[Any]) -> NDArray[np.float64]:
    """KL in nats at each position, of log-probabilities at the same tokens. Never negative; not finite for a file
    whose numbers are not.
    """
    wanted, given = reference.astype(np.float64), output.astype(np.float64)
    inside = (np.exp(wanted) * (wanted - given)).sum(axis=1)
    rest, other = _rest(wanted), _rest(given)
    whole = inside + rest * (np.log(rest) - np.log(other))
    return np.asarray(np.maximum(whole, 0.0))


def compare_distributions(reference: Reference, output: ModelOutput) -> DistributionMetrics:
    """Compare the distributions at the positions that there was time for."""
    count = len(output.best)
    wanted, base = reference.log_probs[:count], None if reference.base is None else reference.base[:count]
    kl = divergences(wanted, output.log_probs)
    longest = len(reference.rows[0])
    late = kl[longest - max(longest // 4, 1) : longest]  # empty where there was no time for them
    is_best, is_tied = reference.top[:count] == output.best[:, None], wanted >= wanted[:, :1] - TIE
    return DistributionMetrics(
        positions=count,
        longest=longest,
        kl=float(kl.mean()),
        kl_99=float(np.quantile(kl, 0.99)),
        kl_max=float(kl.max()),
        late=float(late.mean()) if late.size else 0.0,
        late_positions=late.size,
        top1=float((reference.top[:count, 0] == output.best).mean()),
        agreed=float((is_best & is_tied).any(1).mean()),
        moved=None if base is None else float(divergences(wanted, base).mean()),
        merged=None if base is None else _merged(wanted, base, output.log_probs),
    )


def _merged(trained: NDArray[Any], base: NDArray[Any], output: NDArray[Any]) -> float | None:
    """How far along the way from the base to the trained model the file is, by least squares over log-probabilities,
    each counted by its probability. What a quantisation changes has no direction, and so hardly counts.
    """
    wide = trained.astype(np.float64)
    way, gone, weight = base - wide, output - wide, np.exp(wide)
    length = float((weight * way * way).sum())
    return 1.0 - float((weight * way * gone).sum()) / length if length > 0 else None


def compare_answers(reference: GreedyAnswers, output: GreedyAnswers) -> GenerationMetrics:
    """Compare answers to the same prompts."""
    pairs = list(zip(reference.ids, output.ids, strict=True))
    shares = [_common(wanted, given) / max(len(wanted), 1) for wanted, given in pairs]
    ending = [ends and not cut for ends, cut in zip(reference.ended, output.cut, strict=True)]
    return GenerationMetrics(
        prompts=len(pairs),
        same=sum(wanted == given[: len(wanted)] for wanted, given in pairs),
        agreed=float(np.mean(shares)) if shares else 1.0,
        ending=sum(ending),
        ended=sum(ends and should for ends, should in zip(output.ended, ending, strict=True)),
    )


def _rest(log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.maximum(1.0 - np.exp(log_probs).sum(axis=1), _LEAST))


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = zip(left, right, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(left), len(right)))


def _rounded(figures: dict[str, float | None]) -> dict[str, float | None]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()}
