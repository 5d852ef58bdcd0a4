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
_COLUMNS = ("camera", "x", "y", "floor_x", "floor_y")
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
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a mark in front
        if path.suffix == ".toml":
            rows = [
                (str(p["camera"]), *map(float, (*p["pixel"], *p["floor"])))
                for p in tomllib.loads(text)["pair"]
            ]
        else:
            rows = _rows(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no list of point pairs ({error}): CSV with camera,x,y,floor_x,floor_y, or TOML "
            "with [[pair]] camera, pixel and floor"
        ) from error
    if not rows:
        raise UsageError(f"{path} holds no point pairs")
    return gathered(rows)


def _rows(text: str) -> list[tuple[object, ...]]:
    """Of a table whose columns are separated by commas, or by semicolons as some spreadsheets have it."""
    lines = [line for line in text.splitlines() if line.strip()]
    comma = ";" if lines and ";" in lines[0] else ","
    head, *rows = [
        [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=comma)
    ] or [[]]
    missing = [name for name in _COLUMNS if name not in head]
    if lines and missing:
        raise ValueError(f"there is no column '{missing[0]}'")
    if any(len(row) != len(head) for row in rows):
        raise ValueError("its rows are not all as long as the first one")
    places = [head.index(name) for name in _COLUMNS] if lines else []
    return [(row[places[0]], *(float(row[place]) for place in places[1:])) for row in rows]


def gathered(rows: Iterable[tuple[object, ...]]) -> list[PointPairs]:
    """Camera, x, y, floor x, floor y → by camera."""
    by_camera: dict[str, list[list[float]]] = {}
    for camera, *numbers in rows:
        try:
            values = [float(str(n)) for n in numbers]
        except ValueError:
            values = []
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
