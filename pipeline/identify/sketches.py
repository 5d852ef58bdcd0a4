"""Short sketches of looks: in a large gallery they tell which rows are worth a real comparison.

A sketch is a projection of a look onto few fixed directions, drawn once for all; cosines of sketches are those of the
looks with a deviation of 1/√WIDTH. Nothing is built and nothing is tuned: a row's sketch is there as soon as the row
is, and what the sketches let through is compared exactly.
"""

import numpy as np

from pipeline.frames import FloatArray, IntArray

WIDTH = 64
_SAMPLE = 4096
"""Rows from whose sketches it is told how alike the chosen ones must be."""


class Sketches:
    """Rows 0…, kept beside the gallery's."""

    def __init__(self, size: int, room: int) -> None:
        rng = np.random.default_rng(0)
        directions = np.linalg.qr(rng.standard_normal((size, min(WIDTH, size))))[0]
        self._directions: FloatArray = directions.astype(np.float32)
        self._rows = np.zeros((room, directions.shape[1]), np.float32)

    def write(self, rows: IntArray | slice, looks: FloatArray) -> None:
        self._rows[rows] = looks @ self._directions

    def move(self, holes: IntArray, movers: IntArray) -> None:
        self._rows[holes] = self._rows[movers]

    def grow(self, room: int) -> None:
        rows = np.zeros((room, self._rows.shape[1]), np.float32)
        rows[: len(self._rows)] = self._rows
        self._rows = rows

    def nearest(self, asked: IntArray, count: int, most: int) -> IntArray:
        """About `most` of the first `count` rows for each of those asked about, together, ascending."""
        alike = self._rows[asked] @ self._rows[:count].T
        sample = alike[:, :: max(1, count // _SAMPLE)]
        least = np.quantile(sample, max(0.0, 1 - most / count), axis=1, keepdims=True)
        return np.flatnonzero((alike >= least).any(axis=0))
