"""Where on the floor tracked people were, step by step: what a tracklet tells of its way.

A box's lower edge trembles; its mean over a step of capture time trembles less. The steps are the same for all
cameras, so that who is seen by two can be compared at equal times.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import STEP, FloatArray, IntArray, Path
from pipeline.ground import FloorMap
from pipeline.stature import likeness, middle

Walks: TypeAlias = NDArray[Any]
"""(N,) of WALK."""

_KEPT = 8
"""Steps that wait to be told; older ones are dropped. Updates are more frequent than that."""
_MEASURED, _NEWEST = 20, 6
"""Steps whose statures are remembered; how many of them are held against those before."""
_PLACES = 2 * 0.025**2
"""Variance of how tall one camera finds a person at two places."""
_LASTING = 0.3
"""Share of a box's error that lasts from frame to frame, so that a mean does not remove it."""
_SAMPLE = np.dtype(
    [
        ("time", np.float64),
        ("place", np.float64, 2),
        ("spread", np.float64, 3),
        ("stature", np.float64),
    ]
)
WALK = np.dtype(
    [
        ("step", np.int64),
        ("looks", np.int64),  # in the step that is going on
        ("sum", _SAMPLE),
        ("kept", _SAMPLE, _KEPT),
        ("waiting", np.int64),
        ("statures", np.float32, _MEASURED),  # of the last steps, oldest first; 0 where not known
    ]
)


class Footing:
    """Adds up where people stand. Owns nothing but the cameras' floors: the rows are the caller's."""

    def __init__(self, floors: Mapping[str, FloorMap]) -> None:
        self._floors = dict(floors)

    def note(
        self,
        walks: Walks,
        rows: IntArray,
        camera: str,
        boxes: FloatArray,
        size: tuple[int, int],
        time: float,
    ) -> None:
        """One frame: the people in `rows` have these boxes. Changes `walks` in place."""
        if camera not in self._floors or not len(rows):
            return
        places, spread = self._floors[camera].feet(boxes, size)
        seen = np.isfinite(places).all(axis=1)
        rows, places, spread = rows[seen], places[seen], spread[seen]
        statures = self._floors[camera].statures(boxes[seen], places, size)
        step = int(time // STEP)
        complete(walks, rows[walks["step"][rows] != step])
        walks["step"][rows] = step
        walks["looks"][rows] += 1
        total = walks["sum"]
        total["time"][rows] += time
        total["place"][rows] += places
        total["spread"][rows] += spread
        # One look without a head leaves the step without a stature.
        total["stature"][rows] += statures


def grown(walks: Walks) -> FloatArray:
    """(N,) log-likelihood ratios of the last steps' statures being those of whom the steps before show."""
    now, count = middle(walks["statures"][:, -_NEWEST:])
    before, earlier = middle(walks["statures"][:, :-_NEWEST])
    known = (count >= _NEWEST - 1) & (earlier >= _NEWEST - 1)
    few = 1 / np.maximum(count, 1) + 1 / np.maximum(earlier, 1)
    ratio = likeness(now - before, few.astype(np.float32), np.full_like(now, _PLACES))
    return ratio * known


def complete(walks: Walks, rows: IntArray) -> None:
    """End the step that is going on, if there is any."""
    rows = rows[walks["looks"][rows] > 0]
    looks = walks["looks"][rows].astype(np.float64)
    full = rows[walks["waiting"][rows] == _KEPT]
    walks["kept"][full, :-1] = walks["kept"][full, 1:]
    walks["waiting"][full] -= 1
    at = walks["waiting"][rows]
    kept, total = walks["kept"], walks["sum"]
    kept["time"][rows, at] = total["time"][rows] / looks
    kept["place"][rows, at] = total["place"][rows] / looks[:, None]
    steadier = _LASTING + (1 - _LASTING) / looks
    statures = np.nan_to_num(total["stature"][rows] / looks)
    kept["stature"][rows, at] = statures
    walks["statures"][rows, :-1] = walks["statures"][rows, 1:]
    walks["statures"][rows, -1] = statures
    kept["spread"][rows, at] = total["spread"][rows] * (steadier / looks)[:, None]
    walks["waiting"][rows] += 1
    walks["looks"][rows] = 0
    walks["sum"][rows] = np.zeros((), _SAMPLE)


def take(walks: Walks, row: int) -> Path | None:
    """What one walk has to tell, which it forgets. None if that is nothing."""
    count = int(walks["waiting"][row])
    if not count:
        return None
    kept = walks["kept"][row, :count]
    walks["waiting"][row] = 0
    return Path(
        times=kept["time"].copy(),
        places=kept["place"].astype(np.float32),
        spread=kept["spread"].astype(np.float32),
        statures=kept["stature"].astype(np.float32),
    )
