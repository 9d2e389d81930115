"""How far a file may be from the model that it was made of, by its quantisation.

What must stay true: a sound file of a real model passes, and one with a fault of structure (whose KL was 0.1 and more
wherever one was planted) does not, whatever its quantisation but q3_k_m's.

Calibrated on three things. (1) A real model: llama.cpp's table for Llama 3 8B over WikiText
(tools/perplexity/README.md, revision f364eb6f): mean KL f16 of bf16 2.5e-5, q8_0 1.4e-3, q6_K 5.5e-3, q5_K_M 1.1e-2,
q4_K_M 3.1e-2, q3_K_M 0.10; same most probable token 99.7, 97.7, 96.0, -, 91.9, - per cent. (2) The tiny model of
tests/verification: merged 2.6e-6, f32 and f16 2.7e-6, bf16 8.0e-6, q8_0 1.3e-4, q6_k 7.5e-4, q5_k_m 1.4e-3, q4_k_m
4.5e-3, q3_k_m 1.4e-2, and at least 96 per cent; with faults 0.37 (no rope_freqs) to 1.9 (rows not interleaved). A small
model is off by a seventh of what a real one is, so that its numbers alone set no limit. (3) The ceiling of 0.05 for
q4_k_m. So the limits are 1.6 (q4_k_m) to 20 times (16 bit) what the real model has. For bitsandbytes' NF4 there is no
such table: the tiny model is off by 8.5e-3 (97 per cent), 1.9 times what it is in q4_k_m, and so 0.06 is expected of a
real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """The most mean KL, in nats; the least share of equal most probable tokens, ties aside."""

    kl: float
    top1: float


MERGED = "16bit"
LIMITS: Mapping[str, Limit] = {
    MERGED: Limit(5e-4, 0.98),
    "4bit": Limit(1e-1, 0.80),
    "f32": Limit(5e-4, 0.98),
    "f16": Limit(5e-4, 0.98),
    "bf16": Limit(5e-4, 0.98),
    "q8_0": Limit(5e-3, 0.95),
    "q6_k": Limit(1.5e-2, 0.93),
    "q5_k_m": Limit(3e-2, 0.90),
    "q4_k_m": Limit(5e-2, 0.85),
    "q3_k_m": Limit(2e-1, 0.75),
}

_FINER = {"4bit": "16bit", "q8_0": "-q bf16", "q6_k": "-q q8_0", "q5_k_m": "-q q6_k"}
_FINER |= {"q4_k_m": "-q q5_k_m", "q3_k_m": "-q q4_k_m"}


def finer(kind: str) -> str:
    """What to type after `twinctl export` for the next finer kind; empty for one that is not rounded."""
    return _FINER.get(kind, "")


# How many times the training may be in a file: 0 is the base, 2 an adapter merged twice. Measured 0.956 to 1.05 in
# sound files of all kinds, where the quantisation's KL was up to 23 times what training had moved. Beyond NOISE times,
# or where it moved less than MOVED_LEAST, there is nothing to tell.
MERGED_LEAST, MERGED_MOST = 0.75, 1.25
NOISE, MOVED_LEAST = 50.0, 1e-6

# Nats between two tokens that count as equally probable: how much log-probabilities may differ by rounding where
# the mean KL is the finest limit's, half their variance. Without it a model that is sure of little, as one of random
# weights that trained for 20 steps, was distinguished from its own merge: 98.0% at a mean KL within the limit.
TIE = 0.03

# The last quarter of the longest row may be off by this many times the limit, if it is long enough to tell.
LATE_TIMES, LATE_LEAST = 2.0, 64

# Of the answers that the trained model ends by itself, the least share that the file ends too.
ENDED_SHARE = 0.75

ROTARY = 1e-4  # relative; the frequencies of float32 and of float64 differ by 1e-6
