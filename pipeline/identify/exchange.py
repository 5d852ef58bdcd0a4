"""Two who were taken for each other: neither can be put right alone, for each stands where the other belongs."""

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FloatArray, IntArray
from pipeline.identify.matcher import Evidence, Rules

_PAIRS = 8
"""Pairs that are weighed with time and place, at most: those whose looks speak loudest."""


def exchange(
    evidence: Evidence,
    identity: IntArray,
    score: FloatArray,
    eligible: NDArray[np.bool_],
    rules: Rules,
) -> None:
    """Let pairs of tracklets change places where both together are likelier so.

    Of the P tracklets under judgement those that are `eligible` (P,), and only such as cannot be one person: others
    are never in each other's way. Changes `identity` (R,) and `score` (P,) in place.
    """
    at = evidence.at
    moved = np.zeros(len(at), np.bool_)
    for pair in _promising(evidence, identity, eligible, rules.hysteresis):
        if moved[pair].any():
            continue
        worth = _worth(evidence, identity, pair, rules)
        if worth[0, 1] + worth[1, 0] > np.trace(np.maximum(worth, 0.0)) + rules.hysteresis:
            identity[at[pair]] = identity[at[pair[::-1]]]
            score[pair] = worth[0, 1], worth[1, 0]
            moved[pair] = True


def _promising(
    evidence: Evidence, identity: IntArray, eligible: NDArray[np.bool_], least: float
) -> IntArray:
    """(K, 2) tracklets who look so much more like each other's identities, most first."""
    at = evidence.at
    own = identity[at]
    some = np.flatnonzero(eligible & (own > 0))
    block = np.triu(evidence.forbidden[np.ix_(some, at[some])], 1)
    block &= own[some][:, None] != own[some][None, :]
    one, other = np.nonzero(block)
    if not len(one):
        return np.empty((0, 2), np.int64)
    numbers, column = np.unique(own[some], return_inverse=True)
    rows = np.flatnonzero(np.isin(identity, numbers))
    member = (identity[rows][:, None] == numbers).astype(np.float32)
    likeness = evidence.likeness[np.ix_(some, rows)]
    known = np.isfinite(likeness)
    likeness = np.where(known, likeness, np.float32(0))
    sums, counts = likeness @ member, known.astype(np.float32) @ member
    place = np.searchsorted(rows, at[some])

    def toward(a: IntArray, b: IntArray, without: IntArray) -> FloatArray:
        """How much tracklet `a` looks like the identity of `b`, if one row does not belong to it."""
        row = place[without]
        inside = member[row, column[b]]
        count = counts[a, column[b]] - inside * known[a, row]
        total = sums[a, column[b]] - inside * likeness[a, row]
        return np.where(count > 0, total * 2 / (count + 1), np.float32(0))

    gain = toward(one, other, other) + toward(other, one, one)
    gain -= toward(one, one, one) + toward(other, other, other)
    best = np.argsort(-gain, kind="stable")[:_PAIRS]
    best = best[gain[best] > least]
    return np.stack([some[one[best]], some[other[best]]], axis=1)


def _worth(evidence: Evidence, identity: IntArray, pair: IntArray, rules: Rules) -> FloatArray:
    """(2, 2) nats for either of two toward the identity of either without them, with all that is known.

    An identity that is left without anybody speaks neither for nor against.
    """
    at = evidence.at[pair]
    without = identity.copy()
    without[at] = 0
    numbers, scores = evidence.toward(pair, without)
    worth = np.zeros((2, 2), np.float32)
    for side, number in enumerate(identity[at].tolist()):
        known = numbers == number
        if known.any():
            worth[:, side] = scores[:, known][:, 0] - rules.newcomer
    return worth
