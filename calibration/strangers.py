"""Pairs of tracklets who are two people: told by labels, or by where they were at one time."""

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calibration.errors import TooLittleError
from calibration.looks import Looks, cosines, fisher
from pipeline.frames import IntArray

Floats: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = NDArray[np.int64]
"""(P, 2)"""

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
    moved: Floats
    """(P,) by how much they are more alike than strangers in two cameras, in Fisher's z."""

    def __len__(self) -> int:
        return len(self.one)

    def alike(self, looks: Looks) -> Floats:
        """(P,) Fisher's z, as in two cameras."""
        return fisher(cosines(looks.embeddings, self.one, self.other)) - self.moved


def told_by(looks: Looks, who: IntArray) -> Strangers:
    """In two cameras; `who` (N,) each tracklet is, -1 where nobody knows."""
    one, other = np.triu_indices(len(looks), 1)
    apart = (who[one] != who[other]) & (who[one] >= 0) & (who[other] >= 0)
    apart &= looks.camera[one] != looks.camera[other]
    return Strangers(one[apart], other[apart], np.zeros(apart.sum()))


def surely(looks: Looks) -> Strangers:
    """Without labels: people in view at one time in two cameras that see no common ground, and people whom one camera
    shows side by side.

    Light and view differ between two cameras as they do for one person who goes from one to the other. Which cameras
    see no common ground, likeness tells: where there is some, some of those in view at one time are one person. People
    side by side are more alike for it, so all of them are moved so that their median is that of pairs across cameras,
    nearly all of which are different as well. Only moved, not narrowed: lookalikes stay lookalikes.
    """
    one, other = looks.together
    if len(one) < LEAST:
        raise TooLittleError("pairs of people seen together", len(one), LEAST, "record for longer")
    everywhere = _across(looks)
    if not len(everywhere):
        raise TooLittleError(
            "cameras with people in them", 1, 2, "one camera alone needs no matching"
        )
    beside = fisher(cosines(looks.embeddings, one, other))
    across = fisher(cosines(looks.embeddings, *everywhere.T))
    moved = np.median(beside) - np.median(across)
    apart = _apart(looks, everywhere, across, float(np.quantile(beside, 1 - _RARE)))
    return Strangers(
        np.concatenate([apart[:, 0], one]),
        np.concatenate([apart[:, 1], other]),
        np.repeat([0.0, moved], [len(apart), len(one)]),
    )


def _apart(looks: Looks, pairs: Pairs, z: Floats, alike: float) -> Pairs:
    """In view at one time in cameras of which few such pairs are more `alike` than that."""
    shared = looks.last[pairs].min(axis=1) - looks.first[pairs].max(axis=1)
    pairs, z = pairs[shared > _OVERLAP], z[shared > _OVERLAP]
    kept = np.zeros(len(pairs), np.bool_)
    for cameras in combinations(np.unique(looks.camera).tolist(), 2):
        here = np.isin(looks.camera[pairs], cameras).all(axis=1)
        if here.sum() >= _TO_JUDGE_BY and (z[here] > alike).mean() <= _COMMON:
            kept |= here
    return pairs[kept]


def _across(looks: Looks) -> Pairs:
    """All pairs in two cameras."""
    pairs = np.column_stack(np.triu_indices(len(looks), 1))
    chosen: Pairs = pairs[np.diff(looks.camera[pairs], axis=1)[:, 0] != 0]
    return chosen
