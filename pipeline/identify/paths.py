"""Where on the floor tracklets were: the last seconds of each, and where it began. Rows are those of the gallery."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import STEP, FloatArray, IntArray, Path
from pipeline.stature import middle

KEPT = 32
"""Steps remembered of each tracklet: 12.8 seconds."""


class Paths:
    """A row's steps lie in a ring: the place of a step is its number, counted from the epoch, modulo `KEPT`.

    So equal steps of two rows lie in equal places. Takes no memory until somebody has a path.
    """

    def __init__(self) -> None:
        self.times: NDArray[np.float64] = np.zeros((0, KEPT))
        """(R, KEPT) of each step; NaN where there is none."""
        self.places: FloatArray = np.zeros((0, KEPT, 5), np.float32)
        """(R, KEPT, 5): x, y and covariance xx, xy, yy."""
        self.entry: NDArray[np.float64] = np.zeros((0, 6))
        """(R, 6): time and place of the first step; time NaN where there is none."""
        self.last: IntArray = np.zeros(0, np.int64)
        """(R,) where in the ring the latest step is."""
        self.statures: FloatArray = np.zeros((0, KEPT), np.float32)
        """(R, KEPT) of each step; 0 where it is not known."""

    def __bool__(self) -> bool:
        return len(self.times) > 0

    def write(self, rows: Sequence[int], paths: Sequence[Path | None], room: int) -> None:
        """Add what rows have to tell; `room` is how many rows there may be."""
        some = [(row, path) for row, path in zip(rows, paths, strict=True) if path is not None]
        if not some:
            return
        self.grow(room)
        row = np.repeat([row for row, _ in some], [len(path.times) for _, path in some])
        times = np.concatenate([path.times for _, path in some])
        places = np.concatenate([np.hstack([path.places, path.spread]) for _, path in some])
        statures = np.concatenate([path.statures for _, path in some])
        sound = np.isfinite(times) & np.isfinite(places).all(axis=1)
        row, times, places, statures = row[sound], times[sound], places[sound], statures[sound]
        order = np.argsort(-times, kind="stable")  # so that of each row the first is written last
        new = order[np.isnan(self.entry[row[order], 0])]
        self.entry[row[new], 0], self.entry[row[new], 1:] = times[new], places[new]
        at = steps(times).astype(np.int64) % KEPT
        self.times[row, at], self.places[row, at] = times, places
        self.statures[row, at] = statures
        self.last[row] = np.nanargmax(self.times[row], axis=1) if len(row) else 0

    def stature(self, rows: IntArray) -> tuple[FloatArray, IntArray]:
        """(N,) how tall each is, and in how many steps he was measured: the median of those remembered; 0 of none."""
        if not self:
            return np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
        return middle(np.where(np.isnan(self.times[rows]), 0, self.statures[rows]))

    def cut(self, rows: IntArray, times: NDArray[np.float64]) -> None:
        """Forget what these rows told of later times."""
        if self and len(rows):
            self.times[rows] = np.where(self.times[rows] > times[:, None], np.nan, self.times[rows])
            some = rows[~np.isnan(self.times[rows]).all(axis=1)]
            self.last[some] = np.nanargmax(self.times[some], axis=1) if len(some) else 0

    def clear(self, rows: IntArray) -> None:
        """These rows are about to be somebody else's."""
        if self:
            self.times[rows] = self.entry[rows] = np.nan

    def move(self, targets: IntArray, sources: IntArray) -> None:
        if self:
            for array in (self.times, self.places, self.entry, self.last, self.statures):
                array[targets] = array[sources]

    def grow(self, room: int) -> None:
        extra = room - len(self.times)
        if extra > 0:
            self.times = np.concatenate([self.times, np.full((extra, KEPT), np.nan)])
            self.places = np.concatenate([self.places, np.zeros((extra, KEPT, 5), np.float32)])
            self.entry = np.concatenate([self.entry, np.full((extra, 6), np.nan)])
            self.last = np.concatenate([self.last, np.zeros(extra, np.int64)])
            self.statures = np.concatenate([self.statures, np.zeros((extra, KEPT), np.float32)])


def steps(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The number of the step that each time is in; NaN for NaN."""
    return np.asarray(np.floor(times / STEP))
