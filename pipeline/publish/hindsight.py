"""Where somebody was before he was sure to be there, and after: doubtful boxes on his way, which nobody else took.

A tracker must not show every doubtful box at once, or it would show coats and planters. Once a person is known, the
boxes that led up to him are doubtful no longer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

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
    spare = tracks.spare[tracks.spare.scores >= _CREDIBLE]
    boxes, followed = spare.boxes.astype(np.float64), tracks.boxes.astype(np.float64)
    free = np.array([not (_likeness(box, followed)[0] >= _SAME).any() for box in boxes], bool)
    rows: FloatArray = np.column_stack([spare.boxes, spare.scores])[free]
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
        covered, upright = _likeness(expected, step.spare[:, :4].astype(np.float64))
        alike = covered * upright
        best = int(np.argmax(alike))
        if alike[best] < _LEAST:
            continue
        found = step.spare[best, :4].astype(np.float64)
        went = (_centre(found) - _centre(box)) / took
        pace = pace + _TURN * (went - pace)
        box, time = found, step.time
        yield step, best


def _likeness(box: Floats, others: Floats) -> tuple[Floats, Floats]:
    """(N,) intersection over union, and the same of the vertical extents alone."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    sides = np.maximum(high - low, 0.0)
    shared = sides[:, 0] * sides[:, 1]
    union = _area(box[None]) + _area(others) - shared
    extent = np.maximum(box[3], others[:, 3]) - np.minimum(box[1], others[:, 1])
    return shared / union, sides[:, 1] / extent


def _area(boxes: Floats) -> Floats:
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    area: Floats = width * height
    return area


def _centre(box: Floats) -> Floats:
    centre: Floats = (box[:2] + box[2:]) / 2
    return centre
