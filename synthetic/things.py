"""What stands on a site: what of it a part of a picture can show, and what a ray meets first."""

import math
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera
from synthetic.compiled import compiled

Floats = NDArray[np.float64]
Some: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Which boxes, and which pillars."""

_SLACK = 1e-6
"""Metres that are allowed for rounding."""


class Things:
    """Boxes and pillars as a camera stands to them."""

    def __init__(self, camera: Camera, boxes: Floats, pillars: Floats) -> None:
        """As in `Surroundings`."""
        low = np.column_stack([pillars[:, :2] - pillars[:, 2:3], pillars[:, 3]])
        high = np.column_stack([pillars[:, :2] + pillars[:, 2:3], pillars[:, 4]])
        low = np.concatenate([boxes[:, :3], low])[:, None]
        high = np.concatenate([boxes[:, 3:6], high])[:, None]
        upper = np.array(list(product((False, True), repeat=3)))
        corners = np.where(upper, high, low)
        self._corners: Floats = corners @ camera.rotation.T + camera.translation
        """(B + C, 8, 3) as the camera sees them."""
        self._boxes = len(boxes)

    def within(self, plane: Floats) -> Some:
        """Those that rays through the rectangle around these points (N, 2) of `Camera.plane` can meet, and maybe
        some more.
        """
        aside, down, deep = np.moveaxis(self._corners, 2, 0)
        (left, top), (right, bottom) = plane.min(axis=0) - _SLACK, plane.max(axis=0) + _SLACK
        beside = [aside < left * deep, aside > right * deep, down < top * deep]
        beside += [down > bottom * deep, deep < 0]
        there = ~np.any([all_corners.all(axis=1) for all_corners in beside], axis=0)
        return np.flatnonzero(there[: self._boxes]), np.flatnonzero(there[self._boxes :])


@compiled
def first_hit(
    eye: Floats, ray: Floats, boxes: Floats, pillars: Floats, ground: Floats, some: Some
) -> tuple[float, int, int]:
    """How far along a ray the first of `some` things is; 0 nothing, 1 floor, 2 ceiling, 3 box, 4 pillar; and
    which.
    """
    dx, dy, dz = ray[0], ray[1], ray[2]
    best, kind, thing = 1e9, 0, 0
    if dz < -1e-9 and eye[2] > 0:
        best, kind = -eye[2] / dz, 1
    if ground[5] > 0 and dz > 1e-9:
        best, kind = (ground[5] - eye[2]) / dz, 2
    for b in some[0]:
        t = _hit_box(eye[0], eye[1], eye[2], dx, dy, dz, boxes[b])
        if 0.0 < t < best:
            best, kind, thing = t, 3, b
    for p in some[1]:
        t = _hit_pillar(eye[0], eye[1], eye[2], dx, dy, dz, pillars[p])
        if 0.0 < t < best:
            best, kind, thing = t, 4, p
    return best, kind, thing


@compiled
def unhidden(x: float, y: float, z: float, boxes: Floats, pillars: Floats, sun: Floats) -> float:
    """1 where nothing stands between a point and the sun, else 0."""
    for b in range(boxes.shape[0]):
        if _hit_box(x, y, z, sun[0], sun[1], sun[2], boxes[b]) > 0.0:
            return 0.0
    for p in range(pillars.shape[0]):
        if _hit_pillar(x, y, z, sun[0], sun[1], sun[2], pillars[p]) > 0.0:
            return 0.0
    return 1.0


@compiled
def _hit_box(x: float, y: float, z: float, dx: float, dy: float, dz: float, box: Floats) -> float:
    """Where along the ray a box begins; −1 where it is missed or holds the start."""
    enter, leave = 1e-6, 1e9
    for axis in range(3):
        o = x if axis == 0 else (y if axis == 1 else z)
        d = dx if axis == 0 else (dy if axis == 1 else dz)
        if abs(d) < 1e-12:
            if o < box[axis] or o > box[3 + axis]:
                return -1.0
            continue
        near, far = (box[axis] - o) / d, (box[3 + axis] - o) / d
        if near > far:
            near, far = far, near
        enter, leave = max(enter, near), min(leave, far)
        if enter > leave:
            return -1.0
    return enter if enter > 2e-6 else -1.0


@compiled
def _hit_pillar(
    x: float, y: float, z: float, dx: float, dy: float, dz: float, pillar: Floats
) -> float:
    ox, oy, radius = x - pillar[0], y - pillar[1], pillar[2]
    a = dx * dx + dy * dy
    b = ox * dx + oy * dy
    c = ox * ox + oy * oy - radius * radius
    root = b * b - a * c
    if a > 1e-12 and root > 0.0 and c > 0.0:
        t: float = (-b - math.sqrt(root)) / a
        height = z + t * dz
        if t > 1e-6 and pillar[3] <= height <= pillar[4]:
            return t
    if dz < -1e-12 and z > pillar[4]:
        t = (pillar[4] - z) / dz
        if (ox + t * dx) ** 2 + (oy + t * dy) ** 2 < radius * radius:
            return t
    return -1.0
