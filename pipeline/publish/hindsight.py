"""Where somebody was before he was sure to be there, and after: doubtful boxes on his way, which nobody else took.

A tracker must not show every doubtful box at once, or it would show coats and planters. Once a person is known, the
boxes that led up to him are doubtful no longer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import FloatArray, Tracks

Floats: TypeAlias = NDArray[np.float64]
Box: TypeAlias = list[float]
"""Left, top, right, bottom."""
_CREDIBLE = 0.4
"""Least score of a box: of those with less, as many show parts of somebody, or nobody."""
_LEAST = 0.35
"""Least similarity of a box and where somebody should be: their intersection over union, times that of their
vertical extents."""
_LAPSE = 0.7
"""Seconds without a box on the way, after which it is lost."""
_TURN = 0.3
"""How much one step tells of the pace."""
_SAME = 0.6
"""A spare box that covers a followed one so far is of the same person, by intersection over union."""


class Moment(Protocol):
    """A frame in which somebody may have been."""

    time: float
    spare: FloatArray


Step = TypeVar("Step", bound=Moment)


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody's box at a time."""

    time: float
    box: Box


def spare_of(tracks: Tracks) -> FloatArray:
    """(K, 5) boxes and scores of those who may be somebody whom nobody follows yet."""
    spare = np.flatnonzero(tracks.spare.scores >= _CREDIBLE)
    boxes = tracks.spare.boxes[spare].astype(np.float64)
    spare = spare[free(boxes, tracks.boxes.astype(np.float64))]
    rows: FloatArray = np.column_stack([tracks.spare.boxes[spare], tracks.spare.scores[spare]])
    return rows


def way(first: Look, second: Look | None, steps: Iterable[Step]) -> Iterator[tuple[Step, int]]:
    """The boxes on the way of somebody from a look on, either in time or against it, as far as it leads.

    `second`: another look at him nearby, for his pace. Answers steps, and which of their boxes he is.
    """
    box, time = np.array(first.box), first.time
    pace = np.zeros(2)
    if second is not None and second.time != time:
        pace = (_centre(np.array(second.box)) - _centre(box)) / (second.time - time)
    for step in steps:
        took = step.time - time
        if abs(took) > _LAPSE:
            return
        if not len(step.spare) or not took:
            continue
        expected = box + np.tile(pace * took, 2)
        best, alike = nearest(expected, step.spare.astype(np.float64))
        if alike < _LEAST:
            continue
        found = step.spare[best, :4].astype(np.float64)
        went = (_centre(found) - _centre(box)) / took
        pace = pace + _TURN * (went - pace)
        box, time = found, step.time
        yield step, best


@compiled
def free(boxes: Floats, followed: Floats) -> NDArray[np.bool_]:
    """(K,) which boxes (K, 4) are of nobody who is followed (N, 4)."""
    alone = np.ones(len(boxes), np.bool_)
    for i in range(len(boxes)):
        for j in range(len(followed)):
            if _likeness(boxes[i], followed[j])[0] >= _SAME:
                alone[i] = False
    return alone


@compiled
def nearest(box: Floats, spare: Floats) -> tuple[int, float]:
    """Which of the spare ones (K, 5) is most like a box (4,), and how much."""
    best, most = 0, -1.0
    for k in range(len(spare)):
        covered, upright = _likeness(box, spare[k])
        if covered * upright > most:
            best, most = k, covered * upright
    return best, most


@compiled
def _likeness(box: Floats, other: Floats) -> tuple[float, float]:
    """Intersection over union, and the same of the vertical extents alone."""
    wide = max(min(box[2], other[2]) - max(box[0], other[0]), 0.0)
    high = max(min(box[3], other[3]) - max(box[1], other[1]), 0.0)
    shared = wide * high
    area = (box[2] - box[0]) * (box[3] - box[1])
    union = area + (other[2] - other[0]) * (other[3] - other[1]) - shared
    extent = max(box[3], other[3]) - min(box[1], other[1])
    return shared / max(union, 1e-12), high / max(extent, 1e-12)


def warm_up() -> None:
    """Compile, or load what was compiled before."""
    nobody = np.empty((0, 5))
    free(nobody[:, :4].copy(), nobody[:, :4].copy())
    nearest(np.zeros(4), nobody)


def _centre(box: Floats) -> Floats:
    centre: Floats = (box[:2] + box[2:]) / 2
    return centre
