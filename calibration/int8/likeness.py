"""How alike the answers of two networks are, where nobody says what is right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array
from pipeline.frames import Detections, FloatArray, IntArray

Floats = NDArray[np.float64]
NOBODY, IGNORED = -1, -2
"""Taken by a detection instead of somebody who counts."""


def cosines(given: Array, wanted: Array) -> Floats:
    """(…,) of vectors (…, E); NaN where one of them is no direction."""
    a, b = given.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (a * b).sum(-1) / np.sqrt(np.square(a).sum(-1) * np.square(b).sum(-1))
    return found


def detection_likeness(given: Sequence[Detections], wanted: Sequence[Detections]) -> float:
    """Mean over the wanted people of overlap × ratio of scores of the best answer to each: 1 is the same."""
    shares = [_best(ours, theirs) for ours, theirs in zip(given, wanted, strict=True)]
    every = np.concatenate(shares) if shares else np.zeros(0)
    return float(every.mean()) if len(every) else float("nan")


def average_precision(
    found: Sequence[Detections],
    truth: Sequence[FloatArray],
    overlap: float = 0.5,
    ignored: Sequence[FloatArray] | None = None,
) -> float:
    """AP of detections (by picture) against true boxes (M, 4): the area under precision over recall.

    The surest detection of a person counts, every further one is false; precision is made to fall with recall.
    `ignored`: boxes of people who need not be found; a detection that takes one, and nobody else, is left out.
    """
    total = sum(len(boxes) for boxes in truth)
    if total == 0:
        return float("nan")
    none = [np.zeros((0, 4), np.float32)] * len(found)
    taken = np.concatenate(
        [taken_by(*picture, overlap) for picture in zip(found, truth, ignored or none, strict=True)]
    )
    scores = np.concatenate([picture.scores for picture in found])[taken != IGNORED]
    hits = taken[taken != IGNORED] >= 0
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * hits[order]).sum() / total)


def taken_by(
    found: Detections, truth: FloatArray, ignored: FloatArray, overlap: float = 0.5
) -> IntArray:
    """(N,) whom each detection takes, from the surest on: a row of `truth`, NOBODY or IGNORED.

    Everybody is taken once, those to be ignored too, and they only by detections that nobody else is left for.
    """
    taken = _assigned(found, truth, overlap)
    rest = np.nonzero(taken == NOBODY)[0]
    spare = _assigned(found[rest], ignored, overlap)
    taken[rest[spare != NOBODY]] = IGNORED
    return taken


def overlaps(first: FloatArray, second: FloatArray) -> FloatArray:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def _assigned(found: Detections, truth: FloatArray, overlap: float) -> IntArray:
    """(N,) the person whom each detection takes, from the surest on, or NOBODY; each is taken once."""
    taken = np.full(len(found), NOBODY, np.int64)
    if not len(truth) or not len(found):
        return taken
    shared = overlaps(found.boxes, truth)
    for row in np.argsort(-found.scores, kind="stable"):
        person = int(shared[row].argmax())
        if shared[row, person] >= overlap:
            taken[row] = person
            shared[:, person] = -1.0
    return taken


def _best(given: Detections, wanted: Detections) -> Floats:
    if not len(wanted):
        return np.zeros(0)
    if not len(given):
        return np.zeros(len(wanted))
    ratio = given.scores[:, None] / np.maximum(wanted.scores[None], 1e-9)
    alike = overlaps(given.boxes, wanted.boxes) * np.minimum(ratio, 1 / np.maximum(ratio, 1e-9))
    return np.asarray(alike.max(axis=0), np.float64)
