"""How tall people are, by a camera that knows its floor, and what that says about two being one person.

Boxes of two seconds give away a person's height within three centimetres, and people differ by nine. It is what tells
those apart who wear the same: networks see crops of one size, whoever stands in them.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import FloatArray, IntArray

PEOPLE = 0.09
"""Metres: deviation of how tall people are."""
RULER = 0.12
"""What a camera is off by in ever so many steps: one deviation, in errors of its floor…"""
GLANCE = 0.05
"""…and what a single step is off by besides, in metres."""
STRAY, STRAY_GLANCE = 0.01, 0.2
"""Share of statures that are of something else, such as somebody whose feet are hidden; of single steps more."""

LONG = 8
"""Steps from which on a stature says something of its camera's ruler."""
_CROWD = 14
"""People who say as much of what a ruler is off by as is known of it before."""


@compiled
def likeness(away: float, few: float, ruler: float) -> float:
    """Log-likelihood ratio of two statures being one person's that are `away` metres from each other.

    few: 1/steps of one plus 1/steps of the other; ruler: variance that no number of steps removes.
    """
    same = ruler + GLANCE**2 * few
    other = same + 2.0 * PEOPLE**2
    ratio = np.sqrt(other / same) * np.exp(away**2 * (1.0 / other - 1.0 / same) / 2.0)
    stray = min(STRAY_GLANCE * few + STRAY, 0.5)
    return float(np.log((1.0 - stray) * ratio + stray))


def most(error: float) -> float:
    """What likeness can add, where floors are off by `error` metres."""
    return float(np.log(np.hypot(PEOPLE, RULER * error) / (RULER * error)))


def off(camera: NDArray[np.int32], who: IntArray, statures: FloatArray, cameras: int) -> FloatArray:
    """(cameras,) metres by which each finds people taller than the others do: by tracklets (N,) of whoever it saw.

    Half believed where a dozen were, for people differ. Without it, a floor that was measured badly would make
    everybody somebody else elsewhere.
    """
    seen = np.unique(camera)
    found = np.zeros(cameras, np.float32)
    if len(seen) > 1:
        people = np.array([len(np.unique(who[camera == i])) for i in seen])
        medians = np.array([np.median(statures[camera == i]) for i in seen])
        usual = np.average(medians, weights=people)
        found[seen] = (medians - usual) * people / (people + _CROWD)
    return found


def middle(statures: FloatArray) -> tuple[FloatArray, IntArray]:
    """Medians (N,) of rows (N, K) of which those that are 0 are not known, and how many are; 0 of none."""
    known = np.where(statures > 0, statures, np.inf)
    known.sort(axis=1)
    count = np.isfinite(known).sum(axis=1)
    row, before = np.arange(len(known)), np.maximum(count - 1, 0) // 2
    pair = known[row, before] + known[row, count // 2]
    return np.where(count > 0, pair / 2, 0).astype(np.float32), count
