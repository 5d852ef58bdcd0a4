"""Boxes with identities in MOTChallenge's text: one row per box."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EvaluationError
from pipeline.frames import IntArray

Floats = NDArray[np.float64]

PEDESTRIAN, DISTRACTORS = 1, (2, 7, 8, 12)
"""MOTChallenge's classes: people on vehicles, static people, distractors, reflections."""


_MOST = 2.0**53
"""Whole numbers below it are whole in floating point."""


@dataclass(frozen=True, slots=True)
class MotBoxes:
    """The rows of one MOT text file, sorted by frame."""

    frames: IntArray
    """(N,) from 1."""
    ids: IntArray
    """(N,)"""
    boxes: Floats
    """(N, 4) left, top, right, bottom."""
    ignored: NDArray[np.bool_]
    """(N,) truth only: finding this box earns nothing and missing it costs nothing."""


def read_mot(path: Path) -> MotBoxes:
    """Boxes from MOT text: frame from 1, id, left, top, width, height, …"""
    return parse(_rows(path, 6))


def read_truth(path: Path, min_visibility: float = 0.1) -> MotBoxes:
    """True boxes; column 7 is 0 for rows to leave out, 8 is MOTChallenge's class
    (or -1: a person), 9 the visibility.

    With `min_visibility` 0 the rules are MOTChallenge's, but that people marked 0 and vehicles do not take part in
    the matching, by which a found box may be excused there.
    """
    rows = _rows(path, 9)
    person = np.isin(rows[:, 7], (PEDESTRIAN, -1))
    distractor = np.isin(rows[:, 7], DISTRACTORS)
    rows = rows[(person & (rows[:, 6] != 0)) | distractor]
    unseen = np.isin(rows[:, 7], DISTRACTORS) | (rows[:, 8] < min_visibility)
    return parse(rows, unseen)


def _rows(path: Path, columns: int) -> Floats:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of texts without a row
            rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read as MOT text: {error}") from error
    if not rows.size:
        rows = np.empty((0, 9))
    if rows.shape[1] < columns:
        raise EvaluationError(f"{path} has {rows.shape[1]} columns, but {columns} are needed")
    if not np.isfinite(rows[:, :6]).all() or (rows[:, 0] < 1).any():
        raise EvaluationError(f"{path} has a frame number below 1 or a value that is no number")
    if (rows[:, :2] % 1 != 0).any() or (np.abs(rows[:, :2]) >= _MOST).any():
        raise EvaluationError(f"{path} has a frame or an identity that is no whole number")
    if (rows[:, 4:6] <= 0).any():
        raise EvaluationError(f"{path} has a box without width or height")
    keys = rows[:, :2].astype(np.int64)
    if len(np.unique(keys, axis=0)) < len(keys):
        raise EvaluationError(f"{path} has the same identity twice in one frame")
    return np.asarray(rows, np.float64)


def parse(rows: Floats, ignored: NDArray[np.bool_] | None = None) -> MotBoxes:
    """Boxes from rows of at least frame, id, left, top, width, height; in any order."""
    flags = np.zeros(len(rows), bool) if ignored is None else ignored
    order = np.argsort(rows[:, 0], kind="stable")
    rows = rows[order]
    boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
    return MotBoxes(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), boxes, flags[order])
