"""Two cameras that see common ground, related by the people on it: without a label, and without knowing who is who.

Everybody whom both cameras see at a time may be the same person. If two such guesses are right, their ways over the
floor fix a homography, under which other ways agree as well, at equal times. If they are wrong, next to nothing else
agrees. How much agrees by chance is measured on the same data with one camera's clock shifted.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.errors import RefusedError, TooLittleError
from calibration.homography import Fit, apply, coverage, fit, inverse, refine
from pipeline.frames import FloatArray, IntArray

Floats = NDArray[np.float64]

STEP = 0.25
"""Seconds between two times at which feet are compared."""
LEAST_PEOPLE, LEAST_STEPS = 4, 40
"""Ways that must agree, and steps on them."""
_GAP = 0.8
"""Seconds without a box over which a way is still drawn straight."""
_SHORTEST = 6
"""Steps that two must be seen together to be compared."""
_TOLERANCE = 0.15
"""Heights of the box by which feet may be off."""
_AGREES = 0.6
"""Share of a pair's steps within tolerance that makes it one person."""
_GUESSES, _FEWEST = 2000, 250
"""At most, and at least, even where many agree."""
_SHIFTS = (7.0, -11.0)
"""Seconds by which the clock is shifted to see what chance agrees with."""
_ABOVE_CHANCE = 1.6


@dataclass(frozen=True, slots=True)
class Ways:
    """Where people's feet are in one camera's picture, at whole multiples of `STEP`."""

    camera: str
    size: tuple[int, int]
    person: IntArray
    """(N,) a tracklet's number, sorted."""
    step: IntArray
    """(N,)"""
    feet: Floats
    """(N, 2) pixels, straightened where the lens is known."""
    height: Floats
    """(N,) of the box, in pixels."""
    looks: FloatArray | None = None
    """(T, E) unit vectors by tracklet's number; a row of zeros where there is none."""


@dataclass(frozen=True, slots=True)
class Encounter:
    """What relates two cameras."""

    fit: Fit
    """Pixels of the second camera to pixels of the first."""
    people: int
    """Pairs of tracklets that agree."""
    compared: int
    chance: float
    """Steps that agree when one clock is shifted: the most of several."""
    feet: Floats
    """(N, 2) of the agreeing pairs, in the second camera…"""
    partners: Floats
    """(N, 2) …and in the first."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Steps of all pairs of tracklets that are seen together, pair after pair."""

    one: IntArray
    """(P,) tracklet in the first camera."""
    other: IntArray
    starts: IntArray
    """(P,) where in the steps each pair begins."""
    counts: IntArray
    a: Floats
    """(S, 2) feet in the first camera."""
    b: Floats
    reach_a: Floats
    """(S,) pixels by which they may be off."""
    reach_b: Floats
    likeness: Floats
    """(P,) cosines, 0 where unknown."""


def ways(
    camera: str,
    size: tuple[int, int],
    tracklet: IntArray,
    times: Floats,
    boxes: Floats,
    feet: Floats,
    looks: FloatArray | None = None,
) -> Ways:
    """Boxes (N, 4) of tracklets, sorted by tracklet and time, brought to common times.

    Feet that the picture's border cuts off, or that are nowhere, are left out.
    """
    whole = (boxes[:, 3] < size[1] - 2) & (boxes[:, 0] > 2) & (boxes[:, 2] < size[0] - 2)
    whole &= np.isfinite(feet).all(axis=1)
    tracklet, times, feet = tracklet[whole], times[whole], feet[whole]
    tall = (boxes[:, 3] - boxes[:, 1])[whole]
    linked = (np.diff(tracklet) == 0) & (np.diff(times) < _GAP) & (np.diff(times) > 0)
    first = np.flatnonzero(linked)
    low, high = np.ceil(times[first] / STEP), np.ceil(times[first + 1] / STEP)
    count = (high - low).astype(np.int64)
    source = np.repeat(first, count)
    begun = np.repeat(np.cumsum(count) - count, count)
    step = np.repeat(low, count) + np.arange(count.sum()) - begun
    share = ((step * STEP - times[source]) / (times[source + 1] - times[source]))[:, None]
    values = np.column_stack([feet, tall])
    between = values[source] * (1 - share) + values[source + 1] * share
    return Ways(
        camera, size, tracklet[source], step.astype(np.int64), between[:, :2], between[:, 2], looks
    )


def relate(one: Ways, other: Ways, seed: int = 0) -> Encounter:
    """The homography from the second camera's pixels to the first's, or why there is none."""
    names = f"{one.camera} and {other.camera}"
    pairs = _pairs(one, other)
    advice = "record for longer, or at a busier hour"
    if len(pairs.one) < LEAST_PEOPLE:
        raise TooLittleError(
            f"pairs of people whom {names} show at the same time",
            len(pairs.one),
            LEAST_PEOPLE,
            advice,
        )
    matrix, agreeing, score, effort = _consensus(pairs, np.random.default_rng(seed))
    if matrix is None or agreeing.sum() < LEAST_PEOPLE or score < LEAST_STEPS:
        raise RefusedError(
            f"{names} seem to see no common ground: of {len(pairs.one)} pairs of people only {agreeing.sum()} "
            f"agree on one homography, over {score:.0f} steps of {STEP} s; {LEAST_PEOPLE} and {LEAST_STEPS} are "
            f"needed ({advice}, if their views do overlap)"
        )
    chance = 0.0
    for shift in _SHIFTS:
        shifted = _pairs(one, replace(other, step=other.step + round(shift / STEP)))
        if len(shifted.one) >= 2:
            by_chance = _consensus(shifted, np.random.default_rng(seed), effort)[2]
            chance = max(chance, by_chance * len(pairs.a) / max(len(shifted.a), 1))
    if score < _ABOVE_CHANCE * chance:
        raise RefusedError(
            f"{names} seem to see no common ground: {score:.0f} steps of {STEP} s agree on one homography, but "
            f"{chance:.0f} do so by chance, with one clock shifted ({advice}, if their views do overlap)"
        )
    steps = np.repeat(agreeing, pairs.counts)
    found = fit(
        pairs.b[steps], pairs.a[steps], other.size, float(np.median(pairs.reach_b[steps])), names
    )
    return Encounter(
        found, int(agreeing.sum()), len(pairs.one), chance, pairs.b[steps], pairs.a[steps]
    )


def _pairs(one: Ways, other: Ways) -> _Pairs:
    """Everybody in one camera with everybody in the other, at equal steps."""
    order = np.argsort(other.step, kind="stable")
    first = np.searchsorted(other.step[order], one.step)
    count = np.searchsorted(other.step[order], one.step, side="right") - first
    here = np.repeat(np.arange(len(one.step)), count)
    begun = np.repeat(np.cumsum(count) - count, count)
    there = order[np.repeat(first, count) + np.arange(count.sum()) - begun]
    key = one.person[here] * (other.person.max(initial=0) + 1) + other.person[there]
    sorted_by = np.lexsort((one.step[here], key))
    here, there, key = here[sorted_by], there[sorted_by], key[sorted_by]
    _, starts, counts = np.unique(key, return_index=True, return_counts=True)
    long = counts >= _SHORTEST
    kept = np.repeat(long, counts)
    here, there, counts = here[kept], there[kept], counts[long]
    starts = np.cumsum(counts) - counts
    a, b = one.person[here[starts]], other.person[there[starts]]
    likeness = np.zeros(len(starts))
    if one.looks is not None and other.looks is not None and len(starts):
        likeness = np.einsum("ij,ij->i", one.looks[a], other.looks[b]).astype(np.float64)
    return _Pairs(
        a, b, starts, counts, one.feet[here], other.feet[there],
        _TOLERANCE * one.height[here], _TOLERANCE * other.height[there], likeness,
    )  # fmt: skip


def _consensus(
    pairs: _Pairs, rng: np.random.Generator, guesses: int = _GUESSES
) -> tuple[Floats | None, NDArray[np.bool_], float, int]:
    """The homography that most steps of distinct people agree with, who they are, how many steps, and how many
    guesses it took.
    """
    best: Floats | None = None
    agreeing, most = np.zeros(len(pairs.one), np.bool_), 0.0
    weight = pairs.counts * np.exp(6 * (pairs.likeness - pairs.likeness.max(initial=0)))
    weight = weight / weight.sum()
    if len(pairs.one) < 3:
        return best, agreeing, most, 0
    turn = 0
    for turn in range(guesses):
        if turn >= _FEWEST and agreeing.sum() >= 2 * LEAST_PEOPLE:
            break
        # Two ways fix a homography, and are right together more often; three fix it better.
        count = 2 + turn % 2
        chosen = rng.choice(len(pairs.one), count, replace=False, p=weight)
        if min(len(set(pairs.one[chosen])), len(set(pairs.other[chosen]))) < count:
            continue
        guess = _through(pairs, chosen, rng)
        if guess is None:
            continue
        found, score = _agree(pairs, guess)
        if score > most:
            guess, found, score = _settle(pairs, guess, found, score)
            best, agreeing, most = guess, found, score
    return best, agreeing, most, turn + 1


def _through(pairs: _Pairs, chosen: IntArray, rng: np.random.Generator) -> Floats | None:
    """A first guess: the homography through some steps of the chosen pairs."""
    rows = np.concatenate(
        [pairs.starts[p] + rng.choice(pairs.counts[p], 3, replace=False) for p in chosen]
    )
    return _sound(_direct(pairs.b[rows], pairs.a[rows]), pairs.b[rows])


def _direct(source: Floats, target: Floats) -> Floats:
    """Least squares by the singular value decomposition; a guess, not an answer."""
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    scale, size = np.ptp(source) or 1.0, np.ptp(target) or 1.0
    x, y = ((source - middle) / scale).T
    u, v = ((target - goal) / size).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    plain = np.linalg.svd(rows, full_matrices=True)[2][-1].reshape(3, 3)
    into = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, scale]]) / scale
    out = np.array([[size, 0, goal[0]], [0, size, goal[1]], [0, 0, 1]])
    answer: Floats = out @ plain @ into
    return answer


def _sound(matrix: Floats, points: Floats) -> Floats | None:
    """With the sign that puts the points in front, or None where that cannot be: two cameras above one floor
    see it the same way round, and what stands on it before the horizon.
    """
    depth = points @ matrix[2, :2] + matrix[2, 2]
    matrix = matrix * np.sign(depth.sum() or 1.0)
    if not np.isfinite(matrix).all() or (depth * np.sign(depth.sum() or 1.0) <= 0).any():
        return None
    return matrix if np.linalg.det(matrix) > 0 else None


def _agree(pairs: _Pairs, matrix: Floats) -> tuple[NDArray[np.bool_], float]:
    """Which pairs a homography makes one person, each at most once, and how many steps that is."""
    try:
        back = inverse(matrix)
    except np.linalg.LinAlgError:
        return np.zeros(len(pairs.one), np.bool_), 0.0
    fine = np.hypot(*(apply(matrix, pairs.b) - pairs.a).T) < pairs.reach_a
    fine &= np.hypot(*(apply(back, pairs.a) - pairs.b).T) < pairs.reach_b
    hits = np.add.reduceat(fine.astype(np.int64), pairs.starts)
    worth = np.where(hits >= _AGREES * pairs.counts, hits, 0)
    # Who agrees best takes both of its tracklets. Ties of broken tracklets do not matter: steps are counted.
    for side in (pairs.one, pairs.other):
        best = np.zeros(side.max(initial=0) + 1, np.int64)
        np.maximum.at(best, side, worth)
        worth = np.where(worth == best[side], worth, 0)
    return worth > 0, float(worth.sum())


def _settle(
    pairs: _Pairs, guess: Floats, found: NDArray[np.bool_], score: float
) -> tuple[Floats, NDArray[np.bool_], float]:
    """A guess made better by all who agree with it, as long as that makes more agree."""
    for _ in range(5):
        steps = np.repeat(found, pairs.counts)
        b, a = pairs.b[steps], pairs.a[steps]
        better = _sound(refine(_direct(b, a), b, a), b)
        if better is None:
            break
        now, more = _agree(pairs, better)
        if more <= score:
            break
        guess, found, score = better, now, more
    return guess, found, score


def spanned(encounter: Encounter, size: tuple[int, int]) -> float:
    """Share of the second camera's picture in which people were seen by both."""
    return coverage(encounter.feet, size)
