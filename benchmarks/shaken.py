"""Boxes from a site's truth, as an honest detector might give them, where no detector is to be measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.frames import Detections, Frame

MISSED, SHAKEN, SEEN = 0.05, 0.03, 0.2
"""Share of boxes left out; deviation of the corners in widths and heights; visibility that a detector needs."""


class ShakenTruth:
    """Boxes from a site's truth, as an honest detector might give them: uncertain, and some missing."""

    def __init__(self, site: Path, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rows = {
            path.stem: np.loadtxt(path, delimiter=",", ndmin=2)
            for path in (site / "gt").glob("*.txt")
        }

    def __call__(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._boxes(frame) for frame in frames]

    def _boxes(self, frame: Frame) -> Detections:
        rows = self._rows[frame.camera]
        rows = rows[(rows[:, 0] == frame.index + 1) & (rows[:, 8] >= SEEN)]
        rows = rows[self._rng.random(len(rows)) >= MISSED]
        size = np.tile(rows[:, 4:6], 2)
        boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
        boxes = boxes + self._rng.normal(0, SHAKEN, boxes.shape) * size
        scores = np.clip(0.4 + 0.55 * rows[:, 8] + self._rng.normal(0, 0.05, len(rows)), 0.1, 0.99)
        return Detections(boxes.astype(np.float32), scores.astype(np.float32))
