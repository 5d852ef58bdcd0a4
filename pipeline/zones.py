"""Zones to ignore: parts of a camera's picture in which nobody is looked for, such as a street or a screen."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Detections, FloatArray, Frame

Polygon: TypeAlias = tuple[tuple[float, float], ...]
"""Corners (x, y) in shares of the picture's width and height."""
Detect: TypeAlias = Callable[[Sequence[Frame]], Sequence[Detections]]


def ignoring(detect: Detect, zones: Mapping[str, Sequence[Polygon]]) -> Detect:
    """A detector that leaves out people whose feet are in a zone of their camera."""
    known = {camera: Zones(polygons) for camera, polygons in zones.items() if polygons}
    if not known:
        return detect

    def outside(frames: Sequence[Frame]) -> list[Detections]:
        return [
            known[frame.camera].outside(found, frame) if frame.camera in known else found
            for frame, found in zip(frames, detect(frames), strict=True)
        ]

    return outside


class Zones:
    """Some polygons of one camera, as edges."""

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        corners = [np.array(polygon, np.float64) for polygon in polygons]
        self._from = np.concatenate(corners)
        self._to = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in corners])
        self._starts = np.cumsum([0, *map(len, corners)])[:-1]

    def outside(self, found: Detections, frame: Frame) -> Detections:
        """Those who stand in none of the zones."""
        feet: FloatArray = np.stack(
            [found.boxes[:, [0, 2]].mean(axis=1), found.boxes[:, 3]], axis=1
        )
        feet /= np.array(frame.pixels.size, np.float32)
        kept = ~self.hold(feet)
        return found if kept.all() else found[kept]

    def hold(self, points: FloatArray) -> NDArray[np.bool_]:
        """(N,) which of the points (N, 2) lie in a zone: a ray from them to the right crosses it an odd
        number of times."""
        x, y = points[:, 0, None], np.minimum(points[:, 1, None], 1 - 1e-6)  # feet on the border
        (x0, y0), (x1, y1) = self._from.T, self._to.T
        crosses = (y0 <= y) != (y1 <= y)
        slope = (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)
        crosses &= x < x0 + (y - y0) * slope
        odd = np.add.reduceat(crosses, self._starts, axis=1, dtype=np.int64) % 2 == 1
        inside: NDArray[np.bool_] = odd.any(axis=1)
        return inside


def is_polygons(value: object) -> bool:
    """Whether this is a tuple of polygons: three corners or more, all within the picture."""
    return isinstance(value, tuple) and all(
        isinstance(polygon, tuple) and len(polygon) >= 3 and all(map(_is_corner, polygon))
        for polygon in value
    )


def _is_corner(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(
            isinstance(v, float | int) and not isinstance(v, bool) and 0 <= v <= 1 for v in value
        )
    )
