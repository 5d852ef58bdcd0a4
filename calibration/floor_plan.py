"""What cameras see of a floor: the outline of each view, and what two of them share."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.ground import METRES, PERSON, SMALLEST, FloorMap, GroundSettings, OverlapSettings

Floats = NDArray[np.float64]

_COLUMNS, _ROWS = 13, 240
_LEAST_SHARE = 0.01
"""Of the smaller view: what two cameras share is no overlap below it."""
_STRETCH = 6.0
"""How much larger than in the picture's lower half a pixel may be, where the unit is not the metre."""


def with_view(ground: GroundSettings) -> GroundSettings:
    """With the outline of the floor on which people are large enough to be followed."""
    view = tuple((float(x), float(y)) for x, y in outline(FloorMap(ground)))
    return replace(ground, view=view)


def outline(floor: FloorMap) -> Floats:
    """(N, 2) on the floor: along the picture's lower edge, and back along the end of sight."""
    width, height = floor.settings.size
    u = np.linspace(0, width, _COLUMNS)
    v = np.linspace(height, 0, _ROWS)
    grid = np.stack(np.meshgrid(u, v), axis=2)
    places, slope = floor.locate(grid.reshape(-1, 2))
    across = np.hypot(slope[:, 0, 0], slope[:, 1, 0]).reshape(grid.shape[:2])
    if floor.settings.frame == METRES:
        near = across * SMALLEST <= PERSON
    else:
        near = across <= _STRETCH * np.nanmedian(across[: _ROWS // 2])
    seen = np.cumprod(near & np.isfinite(across), axis=0).sum(axis=0)  # rows in sight, from below
    columns = np.flatnonzero(seen > 0)
    if not len(columns):
        return np.zeros((0, 2))
    places = places.reshape(*grid.shape)
    far = places[seen[columns] - 1, columns]
    return np.concatenate([places[0, columns[[0, len(columns) // 2, -1]]], far[::-1]])


def overlaps(grounds: Sequence[GroundSettings]) -> tuple[OverlapSettings, ...]:
    """The pairs of cameras that see common floor, and which."""
    found = []
    for one, other in combinations(grounds, 2):
        if one.frame == other.frame:
            shape = shared(np.array(one.view), np.array(other.view))
            if area(shape) > _LEAST_SHARE * min(area(np.array(g.view)) for g in (one, other)):
                corners = tuple((float(x), float(y)) for x, y in shape)
                found.append(OverlapSettings((one.camera, other.camera), corners))
    return tuple(found)


def shared(one: Floats, other: Floats) -> Floats:
    """(N, 2) the common part of two outlines, each without its dents."""
    if min(len(one), len(other)) < 3:
        return np.zeros((0, 2))
    hulls = [cv2.convexHull(shape.astype(np.float32)) for shape in (one, other)]
    _, corners = cv2.intersectConvexConvex(*hulls)
    return np.zeros((0, 2)) if corners is None else np.asarray(corners, np.float64).reshape(-1, 2)


def area(shape: Floats) -> float:
    """Of an outline."""
    if len(shape) < 3:
        return 0.0
    x, y = shape.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
