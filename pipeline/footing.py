"""Where on the floor tracked people were, step by step: what a tracklet tells of its way.

A box's lower edge trembles; its mean over a step of capture time trembles less. The steps are the same for all
cameras, so that who is seen by two can be compared at equal times.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
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
_TIME, _PLACE, _SPREAD, _STATURE = 0, slice(1, 3), slice(3, 6), 6
_SAMPLE = 7
"""What is added up of a look, and told of a step: its time, and as `FloorMap.stand` has it."""
WALK = np.dtype(
    [
        ("step", np.int64),
        ("looks", np.int64),  # in the step that is going on
        ("sum", np.float64, _SAMPLE),
        ("kept", np.float64, (_KEPT, _SAMPLE)),
        ("waiting", np.int64),
        ("statures", np.float32, _MEASURED),  # of the last steps, oldest first; 0 where not known
    ]
)


class Footing:
    """Adds up where people stand. Owns nothing but the cameras' floors: the rows are the caller's."""

    def __init__(self, floors: Mapping[str, FloorMap]) -> None:
        self._floors = dict(floors)
        for floor in self._floors.values():  # compiled before use
            floor.stand(np.empty((0, 4), np.float32), floor.settings.size)
        grown(np.zeros(0, WALK))

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
        look = np.empty((len(rows), _SAMPLE))
        look[:, _TIME], look[:, 1:] = time, self._floors[camera].stand(boxes, size)
        seen = ~np.isnan(look[:, 1])
        if not seen.all():
            rows, look = rows[seen], look[seen]
        step = int(time // STEP)
        over = walks["step"][rows] != step
        if over.any():
            complete(walks, rows[over])
            walks["step"][rows] = step
        walks["looks"][rows] += 1
        # One look without a head leaves the step without a stature.
        walks["sum"][rows] += look


def grown(walks: Walks) -> FloatArray:
    """(N,) log-likelihood ratios of the last steps' statures being those of whom the steps before show."""
    now, count = middle(walks["statures"][:, -_NEWEST:])
    before, earlier = middle(walks["statures"][:, :-_NEWEST])
    return _likeness(now - before, count, earlier)


@compiled
def _likeness(away: FloatArray, now: IntArray, before: IntArray) -> FloatArray:
    """As above, of those (N,) whose statures of so many steps are `away` metres from each other; 0 of too few."""
    ratio = np.zeros(len(away), np.float32)
    for i in range(len(away)):
        if min(now[i], before[i]) >= _NEWEST - 1:
            ratio[i] = likeness(away[i], 1.0 / now[i] + 1.0 / before[i], _PLACES)
    return ratio


def complete(walks: Walks, rows: IntArray) -> None:
    """End the step that is going on, if there is any."""
    rows = rows[walks["looks"][rows] > 0]
    looks = walks["looks"][rows].astype(np.float64)
    step = walks["sum"][rows] / looks[:, None]
    steadier = _LASTING + (1 - _LASTING) / looks
    step[:, _SPREAD] *= steadier[:, None]
    statures = step[:, _STATURE] = np.nan_to_num(step[:, _STATURE])
    full = rows[walks["waiting"][rows] == _KEPT]
    walks["kept"][full, :-1] = walks["kept"][full, 1:]
    walks["waiting"][full] -= 1
    walks["kept"][rows, walks["waiting"][rows]] = step
    walks["waiting"][rows] += 1
    walks["statures"][rows, :-1] = walks["statures"][rows, 1:]
    walks["statures"][rows, -1] = statures
    walks["looks"][rows] = 0
    walks["sum"][rows] = 0.0


def take(walks: Walks, row: int) -> Path | None:
    """What one walk has to tell, which it forgets. None if that is nothing."""
    count = int(walks["waiting"][row])
    if not count:
        return None
    kept = walks["kept"][row, :count]
    walks["waiting"][row] = 0
    return Path(
        times=kept[:, _TIME].copy(),
        places=kept[:, _PLACE].astype(np.float32),
        spread=kept[:, _SPREAD].astype(np.float32),
        statures=kept[:, _STATURE].astype(np.float32),
    )
