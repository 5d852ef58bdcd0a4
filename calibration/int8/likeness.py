"""How alike the answers of two networks are, where nobody says what is right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.engine import Array
from pipeline.frames import Detections, FloatArray

Floats = NDArray[np.float64]


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
    found: Sequence[Detections], truth: Sequence[FloatArray], overlap: float = 0.5
) -> float:
    """AP of detections (by picture) against true boxes (M, 4): the area under precision over recall.

    The surest detection of a person counts, every further one is false; precision is made to fall with recall.
    """
    total = sum(len(boxes) for boxes in truth)
    if total == 0:
        return float("nan")
    scores = np.concatenate([picture.scores for picture in found])
    hits = np.concatenate(
        [_hits(picture, boxes, overlap) for picture, boxes in zip(found, truth, strict=True)]
    )
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * hits[order]).sum() / total)


def overlaps(first: FloatArray, second: FloatArray) -> FloatArray:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def _hits(found: Detections, truth: FloatArray, overlap: float) -> NDArray[np.bool_]:
    """(N,) whether each detection, from the surest on, takes a person whom no surer one has taken."""
    hits = np.zeros(len(found), np.bool_)
    if not len(truth) or not len(found):
        return hits
    shared = overlaps(found.boxes, truth)
    for row in np.argsort(-found.scores, kind="stable"):
        person = int(shared[row].argmax())
        if shared[row, person] >= overlap:
            hits[row] = True
            shared[:, person] = -1.0
    return hits


def _best(given: Detections, wanted: Detections) -> Floats:
    if not len(wanted):
        return np.zeros(0)
    if not len(given):
        return np.zeros(len(wanted))
    ratio = given.scores[:, None] / np.maximum(wanted.scores[None], 1e-9)
    alike = overlaps(given.boxes, wanted.boxes) * np.minimum(ratio, 1 / np.maximum(ratio, 1e-9))
    return np.asarray(alike.max(axis=0), np.float64)
