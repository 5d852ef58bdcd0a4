"""Floors from points that an operator typed: where in the picture, and where on the floor, in metres."""

import csv
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.errors import RefusedError, UsageError
from calibration.floor_plan import with_view
from calibration.homography import Fit, Floats, fit
from calibration.known_site import ERROR
from pipeline.ground import GroundSettings

_TOLERANCE = 0.012
"""Of the picture's diagonal: how far off a point may be typed."""
_WORST = 0.4
"""Metres that the median point may be off."""


@dataclass(frozen=True, slots=True)
class PointPairs:
    """Of one camera."""

    camera: str
    pixels: Floats
    """(N, 2)"""
    floor: Floats
    """(N, 2) metres."""


def read_points(path: Path) -> list[PointPairs]:
    """A CSV file with the columns camera, x, y, floor_x, floor_y; or TOML with `[[pair]] camera, pixel, floor`."""
    try:
        text = path.read_text()
        if path.suffix == ".toml":
            rows = [
                (str(p["camera"]), *map(float, (*p["pixel"], *p["floor"])))
                for p in tomllib.loads(text)["pair"]
            ]
        else:
            columns = ("x", "y", "floor_x", "floor_y")
            rows = [
                (row["camera"], *(float(row[c]) for c in columns))
                for row in csv.DictReader(text.splitlines())
            ]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no list of point pairs ({error!r}): CSV with camera,x,y,floor_x,floor_y, or TOML "
            "with [[pair]] camera, pixel and floor"
        ) from error
    return gathered(rows)


def gathered(rows: Iterable[tuple[object, ...]]) -> list[PointPairs]:
    """Camera, x, y, floor x, floor y → by camera."""
    by_camera: dict[str, list[list[float]]] = {}
    for camera, *numbers in rows:
        values = [float(str(n)) for n in numbers]
        if len(values) != 4 or not all(map(math.isfinite, values)):
            raise UsageError(f"a point pair of camera {camera} is not four numbers: {numbers}")
        by_camera.setdefault(str(camera), []).append(values)
    return [
        PointPairs(camera, np.array(values)[:, :2], np.array(values)[:, 2:])
        for camera, values in by_camera.items()
    ]


def floor_of(points: PointPairs, size: tuple[int, int]) -> tuple[GroundSettings, Fit]:
    """The camera's floor, or why it cannot be had."""
    outside = ((points.pixels < 0) | (points.pixels > size)).any(axis=1)
    if outside.any():
        x, y = points.pixels[outside][0]
        raise UsageError(
            f"point ({x:g}, {y:g}) of {points.camera} is outside its picture of {size[0]}×{size[1]}"
        )
    found = fit(points.pixels, points.floor, size, _TOLERANCE * math.hypot(*size), points.camera)
    median, _ = found.told(found.units)
    if median > _WORST:
        raise RefusedError(
            f"the point pairs of {points.camera} are off by {median:.2f} m in the median, {_WORST} m is the most: "
            "measure again, or leave out points near the horizon"
        )
    error = math.hypot(ERROR, median)
    ground = GroundSettings(points.camera, size, tuple(map(float, found.matrix.ravel())), error)
    return with_view(ground), found
