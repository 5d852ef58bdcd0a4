"""The likeness from which on at most a wanted share of strangers match, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.looks import COUNTS, Looks, cosines, fisher
from calibration.strangers import Strangers
from pipeline.frames import FloatArray, IntArray

Floats = NDArray[np.float64]
DRAWS = 200
MOST_PAIRS = 200_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """For one wanted rate of false matches, after some frames."""

    frames: int | None
    """None: after all frames of a tracklet."""
    rate: float
    cosine: float
    low: float
    high: float
    """95 % of redrawn crowds have theirs between these."""
    pairs: int


def thresholds(
    looks: Looks, strangers: Strangers, rates: tuple[float, ...], seed: int = 0
) -> list[Threshold]:
    """For each wanted rate and count of frames for which there are pairs enough: one expected beyond, or more."""
    one, other = strangers.one, strangers.other
    found = []
    for frames in (*COUNTS, None):
        place, vectors = _after(looks, frames)
        kept = (place[one] >= 0) & (place[other] >= 0)
        a, b = one[kept], other[kept]
        z = fisher(cosines(vectors, place[a], place[b])) - strangers.moved[kept]
        for rate in rates:
            if len(z) * rate >= 1:
                found.append(_threshold(z, a, b, frames, rate, seed))
    return found


def _after(looks: Looks, frames: int | None) -> tuple[IntArray, FloatArray]:
    """Where in the vectors each tracklet is, -1 where it is not, and the vectors."""
    if frames is None:
        return np.arange(len(looks)), looks.embeddings
    which, vectors = looks.early[frames]
    place = np.full(len(looks), -1, np.int64)
    place[which] = np.arange(len(which))
    return place, vectors


def _threshold(
    z: Floats, one: IntArray, other: IntArray, frames: int | None, rate: float, seed: int
) -> Threshold:
    """Crowds are redrawn by tracklet, not by pair: a lookalike comes with all the pairs that he is in."""
    rng = np.random.default_rng(seed)
    if len(z) > MOST_PAIRS:
        some = rng.choice(len(z), MOST_PAIRS, replace=False)
        z, one, other = z[some], one[some], other[some]
    order = np.argsort(-z)
    z, one, other = z[order], one[order], other[order]
    crowd = int(max(one.max(), other.max())) + 1
    draws = np.empty(DRAWS)
    for n in range(DRAWS):
        weight = rng.poisson(1.0, crowd)
        total = np.cumsum(weight[one] * weight[other])
        draws[n] = z[min(np.searchsorted(total, rate * total[-1]), len(z) - 1)]
    low, high = np.quantile(draws, [0.025, 0.975])
    at = z[min(int(rate * len(z)), len(z) - 1)]
    return Threshold(
        frames, rate, float(np.tanh(at)), float(np.tanh(low)), float(np.tanh(high)), len(z)
    )
