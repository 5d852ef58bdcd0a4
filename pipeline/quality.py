"""How well people can be seen in a picture: by their boxes, and by a few hundred samples of brightness each."""

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FloatArray
from pipeline.pixels import Plane

_SAMPLES = 400
"""Of each person."""
_SCATTER = np.array([0.7548777, 0.5698403])
"""Multiples of these, without their whole parts, fill a square evenly."""
_MIDDLE = np.array([[0.2, 0.05], [0.6, 0.8]], np.float32)
"""Where in the box, and how much of it, is sampled: the person rather than what is behind him."""
_STEPS = 96.0
"""Near samples lie so many to a person's height: as fine as the network looks."""
_FAR = 4
_NOISE = 4.0
"""Grey levels squared: what is fainter says nothing."""
_BLURRED, _SHARP = 0.28, 0.42
"""Ratios between which sharpness grows. A ramp longer than the far distance has 1/4, an edge 1/2."""


def quality(
    boxes: FloatArray, scores: FloatArray, size: tuple[int, int], full_height: float
) -> FloatArray:
    """(N,) 0…1: how well each of the people (N, 4) in a picture of (width, height) can be seen.

    Large, surely detected, not cut by the border, of a person's shape, and not behind somebody: of two that
    overlap, the one whose feet are lower is in front.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    large = np.clip(height / max(full_height, 1.0), 0, 1)
    upright = np.clip(height / np.maximum(width, 1) - 0.8, 0, 1)
    whole = np.clip(6 * width / np.maximum(height, 1), 0, 1)  # a sliver is most likely cut
    edge = np.array([0, 0, size[0], size[1]], np.float32)
    inside = np.where((np.abs(boxes - edge) < 2).any(axis=1), 0.6, 1.0)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2) / np.maximum(width * height, 1)[:, None]
    in_front = boxes[None, :, 3] > boxes[:, None, 3]
    hidden = np.where(in_front, shared, 0).max(axis=1, initial=0)
    value: FloatArray = (scores * large * upright * whole * inside * (1 - hidden)).astype(
        np.float32
    )
    return value


def sharpness(luma: Plane, boxes: FloatArray) -> FloatArray:
    """(N,) 0…1 for people (N, 4) within a picture's brightness (H, W): 0 blurred, 1 sharp, or nothing to see.

    Brightness is compared at a near and at a far distance: where edges are sharp, the near difference is half of
    the far one (root of mean squares), and where they are blurred less, whatever the contrast and the size.
    The worse of both directions counts, because motion blurs in one.
    """
    if not len(boxes):
        return np.zeros(0, np.float32)
    size = boxes[:, 2:] - boxes[:, :2]
    step = np.maximum(1, np.rint(size[:, 1] / _STEPS)).astype(np.int64)
    room = np.maximum(size * _MIDDLE[1] - (_FAR * step)[:, None], 0)
    places = (np.arange(1, _SAMPLES + 1)[:, None] * _SCATTER % 1).astype(np.float32)
    # (N, samples, 2): x and y, scattered evenly but without rows and columns, lest stripes fall between them
    places = (boxes[:, None, :2] + size[:, None] * _MIDDLE[0] + room[:, None] * places).astype(
        np.int64
    )
    here = _at(luma, places)
    ratios = []
    for direction in ((1, 0), (0, 1)):
        apart = np.multiply.outer(step, direction)[:, None]
        near, far = (
            np.square(_at(luma, places + n * apart) - here).mean(axis=1) for n in (1, _FAR)
        )
        ratios.append(np.sqrt((near + _NOISE) / (far + _NOISE)))
    value = (np.minimum(*ratios) - _BLURRED) / (_SHARP - _BLURRED)
    sharp: FloatArray = np.clip(value, 0, 1).astype(np.float32)
    return sharp


def _at(luma: Plane, places: NDArray[np.int64]) -> FloatArray:
    """(N, samples), the picture's border going on for ever."""
    height, width = luma.shape
    x, y = np.clip(places[..., 0], 0, width - 1), np.clip(places[..., 1], 0, height - 1)
    return luma[y, x].astype(np.float32)
