"""Surfaces drawn through rings: the one primitive that bodies, clothes and bags are made of."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle mesh. Rows of `uv` are metres around (0 in front) and metres along."""

    vertices: Floats
    normals: Floats
    uv: Floats
    triangles: Ints
    ring: Ints
    """(V,) the ring that a vertex belongs to."""
    face_ring: Ints
    """(T,) the lower-numbered ring of a triangle."""


def loft(
    centres: Floats,
    halves: Floats,
    segments: int,
    power: float = 2.0,
    plane: Literal["floor", "upright"] = "floor",
    caps: bool = True,
) -> Surface:
    """Join superelliptic rings.

    `centres` (R, 3) and `halves` (R, 2) in metres. Rings lie parallel to the floor, or upright
    across the
    walking direction. The seam is at the back; `caps` closes both ends.
    """
    if caps:
        centres = np.concatenate([centres[:1], centres, centres[-1:]])
        halves = np.concatenate([halves[:1] * 1e-3, halves, halves[-1:] * 1e-3])
    rings, angle = len(centres), np.linspace(0, 2 * np.pi, segments + 1)
    across = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power)
    along = -np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power)
    grid = np.repeat(centres[:, None, :], segments + 1, axis=1)
    grid[:, :, 0] += halves[:, :1] * across
    grid[:, :, 1 if plane == "floor" else 2] += halves[:, 1:] * along
    index = np.arange(rings * (segments + 1)).reshape(rings, segments + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], axis=1).reshape(
        -1, 3
    )
    face_ring = np.repeat(np.arange(rings - 1), 2 * segments)
    around = (angle / (2 * np.pi) - 0.5) * 2 * np.pi * halves[1:-1].mean()
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    down = np.concatenate([[0.0], np.cumsum(steps)])
    uv = np.stack(np.broadcast_arrays(around[None, :], down[:, None]), axis=-1).reshape(-1, 2)
    return Surface(
        vertices=grid.reshape(-1, 3),
        normals=_normals(grid, triangles, centres),
        uv=uv,
        triangles=triangles,
        ring=np.repeat(np.arange(rings), segments + 1),
        face_ring=face_ring,
    )


def _normals(grid: Floats, triangles: Ints, centres: Floats) -> Floats:
    """Smooth normals that point away from the axis."""
    points = grid.reshape(-1, 3)
    first, second, third = (points[triangles[:, k]] for k in range(3))
    face = np.cross(second - first, third - first)
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], face)
    sheet = total.reshape(grid.shape)
    sheet[:, 0] += sheet[:, -1]
    sheet[:, -1] = sheet[:, 0]
    outward = (sheet * (grid - centres[:, None])).sum()
    sheet *= np.sign(outward)
    length = np.linalg.norm(sheet, axis=2, keepdims=True)
    result: Floats = (sheet / np.maximum(length, 1e-12)).reshape(-1, 3)
    return result
