"""Who each tracklet of a record truly is, where somebody wrote down the truth."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import UsageError
from calibration.record import Record
from pipeline.frames import IntArray
from pipeline.mot_text import MotBoxes, read_truth

MATCH = 0.4
"""Overlap (intersection over union) from which a box is held to be of a person."""


def true_people(record: Record, truth: Path) -> IntArray:
    """(T,) the person whom most of a tracklet's boxes lie on, -1 where none; from `truth/gt/<camera>.txt`."""
    who = np.full(len(record.tracklets), -1, np.int64)
    for number, camera in enumerate(record.cameras):
        path = truth / "gt" / f"{camera}.txt"
        if not path.is_file():
            raise UsageError(f"there is no truth of camera {camera}: {path} is missing")
        mine = np.flatnonzero(record.boxes["camera"] == number)
        tracklet, person = _matches(record, mine, read_truth(path, 0.1))
        if len(tracklet):
            pairs, votes = np.unique(
                np.column_stack([tracklet, person]), axis=0, return_counts=True
            )
            order = np.argsort(votes, kind="stable")
            who[pairs[order, 0]] = pairs[order, 1]  # the most votes come last, and stay
    return who


def _matches(record: Record, mine: IntArray, truth: MotBoxes) -> tuple[IntArray, IntArray]:
    """Tracklets and people of all boxes that lie on each other in one frame."""
    boxes = record.boxes[mine]
    frame = boxes["frame"] + 1
    begin, end = np.searchsorted(truth.frames, frame), np.searchsorted(truth.frames, frame, "right")
    counts = end - begin
    left = np.repeat(np.arange(len(mine)), counts)
    right = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + begin[left]
    box = boxes["box"][left].astype(np.float64)
    on = (_overlap(box, truth.boxes[right]) >= MATCH) & ~truth.ignored[right]
    return boxes["tracklet"][left[on]], truth.ids[right[on]]


def _overlap(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(some[:, :2], others[:, :2])
    high = np.minimum(some[:, 2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    whole = (some[:, 2:] - some[:, :2]).prod(axis=1) + (others[:, 2:] - others[:, :2]).prod(axis=1)
    answer: NDArray[np.float64] = shared / np.maximum(whole - shared, 1e-9)
    return answer
