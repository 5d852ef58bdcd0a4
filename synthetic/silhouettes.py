"""Who hides how much of whom: silhouettes counted in sub-pixels, as fine as each person needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera
from synthetic.scene import GRID, Surroundings, nearness
from synthetic.shade import claim, draw

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Region: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels."""

_ENOUGH = 2000
"""Sub-pixels of a silhouette that tell its hidden share well within 0.02, wherever edges fall."""
_FINEST = 16


@dataclass(frozen=True, slots=True)
class Outline:
    """A person's mesh on the picture."""

    screen: Floats32
    """(V, 3): x, y in pixels and one over the depth."""
    triangles: NDArray[np.int32]
    window: Region
    """Holds all of the mesh that lies in the picture."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Rows as the outlines given."""

    boxes: Floats32
    """(N, 4): left, top, right, bottom of the whole silhouettes, in whole pixels."""
    whole: Floats
    """(N,): pixels that each would cover alone."""
    visible: Floats
    """(N,): the share of these that shows, 0 for who covers nothing."""


class Silhouettes:
    """Counts what shows of everybody. Keeps its buffers; not for several threads."""

    def __init__(self, camera: Camera, around: Surroundings, near: Floats32) -> None:
        self._camera, self._around, self._still = camera, around, near
        self._near, self._owner = np.empty_like(near), np.empty(near.shape, dtype=np.int32)
        self._scratch = [np.empty(near.size, dtype=np.float32) for _ in range(3)]
        self._faces = np.empty(near.size, dtype=np.int32)

    def shares(self, outlines: Sequence[Outline]) -> Shares:
        """How much of each shows, what stands still and the others considered."""
        width, height = self._camera.size
        windows = np.array([outline.window for outline in outlines], np.int64).reshape(-1, 4)
        left, top = windows[:, :2].min(axis=0, initial=max(width, height)).tolist()
        right, bottom = windows[:, 2:].max(axis=0, initial=0).tolist()
        cut = np.s_[GRID * top : GRID * bottom, GRID * left : GRID * right]
        owner = self._owner[cut]  # nobody is anywhere else
        self._near[cut], owner[:] = self._still[cut], -1
        extent = self._count(outlines, (0, 0), GRID, self._near, self._owner)
        boxes, whole = extent[:, :4] / GRID, extent[:, 4]
        shown = np.bincount(owner[owner >= 0], minlength=len(outlines))
        visible = shown / np.maximum(whole, 1)
        for row in np.flatnonzero((shown > 0) & (shown < whole) & (whole < _ENOUGH)).tolist():
            visible[row] = self._closer(outlines, row, GRID * math.sqrt(_ENOUGH / whole[row]))
        boxes[:, :2], boxes[:, 2:] = np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])
        boxes = np.clip(boxes, 0, (width, height) * 2)
        return Shares(boxes.astype(np.float32), whole / GRID**2, visible)

    def _closer(self, outlines: Sequence[Outline], row: int, wanted: float) -> float:
        """The visible share of one person, looked at through a magnifying glass."""
        window = outlines[row].window
        area = (window[2] - window[0]) * (window[3] - window[1])
        grid = min(math.ceil(wanted), _FINEST, math.isqrt(self._near.size // area))
        near = nearness(self._camera, self._around, window, grid)
        owner = np.full(near.shape, -1, dtype=np.int32)
        cut = [(n, _cut(outline, window)) for n, outline in enumerate(outlines)]
        there = [(n, outline) for n, outline in cut if outline is not None]
        extent = self._count([outline for _, outline in there], window[:2], grid, near, owner)
        place = [n for n, _ in there].index(row)
        return float((owner == place).sum() / max(extent[place, 4], 1))

    def _count(
        self, outlines: Sequence[Outline], corner: tuple[int, int], grid: int,
        near: Floats32, owner: NDArray[np.int32],
    ) -> Floats:  # fmt: skip
        """(N, 5) extents and counts of whole silhouettes, in sub-pixels from `corner`; fills `near`
        and `owner` with who is in front.
        """
        extent = np.zeros((len(outlines), 5))
        scale = np.array([grid, grid, 1], dtype=np.float32)
        offset = np.array([grid * corner[0], grid * corner[1], 0], dtype=np.float32)
        for row, outline in enumerate(outlines):
            x0, y0, x1, y1 = (
                grid * (edge - corner[k % 2]) for k, edge in enumerate(outline.window)
            )
            shape = y1 - y0, x1 - x0
            alone, first, second = (
                flat[: shape[0] * shape[1]].reshape(shape) for flat in self._scratch
            )
            face = self._faces[: shape[0] * shape[1]].reshape(shape)
            screen = outline.screen * scale - offset
            draw(screen, outline.triangles, x0, y0, alone, face, first, second)
            claim(alone, x0, y0, row, near, owner, extent[row])
        return extent


def _cut(outline: Outline, window: Region) -> Outline | None:
    """What of an outline lies in a window."""
    low = np.maximum(outline.window[:2], window[:2]).tolist()
    high = np.minimum(outline.window[2:], window[2:]).tolist()
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    return Outline(outline.screen, outline.triangles, (*low, *high))
