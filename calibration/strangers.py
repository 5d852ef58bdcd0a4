"""Pairs of tracklets who are two people: told by labels, or by where they were at one time."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calibration.errors import TooLittleError
from calibration.looks import Looks, cosines, fisher
from pipeline.frames import IntArray

LEAST = 200
"""Pairs that are needed."""
_OVERLAP = 1.0
"""Seconds for which both must be in view: clocks of cameras differ a little."""
_RARE, _COMMON = 0.01, 0.03
"""Of two cameras without common ground, no more of those in view at one time are as alike as the likest `_RARE` of
strangers side by side (0.2 to 0.8 % on a rendered mall, and 5 % of two cameras that do see common ground)."""
_TO_JUDGE_BY = 100
"""Pairs of people in two cameras, from which on their share tells anything."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Surely two people, pair by pair."""

    one: IntArray
    other: IntArray
    moved: float = 0.0
    """By how much they are more alike than strangers in two cameras, in Fisher's z."""

    def __len__(self) -> int:
        return len(self.one)


def told_by(looks: Looks, who: IntArray) -> Strangers:
    """In two cameras; `who` (N,) each tracklet is, -1 where nobody knows."""
    one, other = np.triu_indices(len(looks), 1)
    apart = (who[one] != who[other]) & (who[one] >= 0) & (who[other] >= 0)
    apart &= looks.camera[one] != looks.camera[other]
    return Strangers(one[apart], other[apart])


def surely(looks: Looks) -> Strangers:
    """Without labels. Best are people in view at one time in two cameras that see no common ground: light and view
    differ between them as they do for one person who goes from one to the other.

    Which cameras those are, likeness tells: where there is common ground, some of those in view at one time are one
    person. Where no two cameras are surely without, people whom one camera shows side by side have to do. They are
    more alike, so the whole distribution is moved so that its median is that of pairs across cameras, nearly all of
    which are different as well. Only moved, not narrowed: lookalikes stay lookalikes.
    """
    one, other = looks.together
    if len(one) < LEAST:
        raise TooLittleError("pairs of people seen together", len(one), LEAST, "record for longer")
    beside = fisher(cosines(looks.embeddings, one, other))
    apart = _apart(looks, float(np.quantile(beside, 1 - _RARE)))
    if len(apart) >= LEAST:
        return apart
    everywhere = _across(looks)
    if not len(everywhere):
        raise TooLittleError(
            "cameras with people in them", 1, 2, "one camera alone needs no matching"
        )
    across = fisher(cosines(looks.embeddings, *everywhere.T))
    return Strangers(one, other, float(np.median(beside) - np.median(across)))


def _apart(looks: Looks, alike: float) -> Strangers:
    """In view at one time in cameras of which few such pairs are more `alike` than that."""
    one, other = _across(looks).T
    shared = np.minimum(looks.last[one], looks.last[other])
    shared -= np.maximum(looks.first[one], looks.first[other])
    one, other = one[shared > _OVERLAP], other[shared > _OVERLAP]
    z = fisher(cosines(looks.embeddings, one, other))
    kept = np.zeros(len(one), np.bool_)
    for pair in combinations(np.unique(looks.camera).tolist(), 2):
        here = np.isin(looks.camera[one], pair) & np.isin(looks.camera[other], pair)
        if here.sum() >= _TO_JUDGE_BY and (z[here] > alike).mean() <= _COMMON:
            kept |= here
    return Strangers(one[kept], other[kept])


def _across(looks: Looks) -> NDArray[np.int64]:
    """(P, 2) all pairs in two cameras."""
    pairs = np.column_stack(np.triu_indices(len(looks), 1))
    chosen: NDArray[np.int64] = pairs[np.diff(looks.camera[pairs], axis=1)[:, 0] != 0]
    return chosen
