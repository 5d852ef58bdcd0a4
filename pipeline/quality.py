"""How well people can be seen in a picture: by their boxes, and by a few hundred samples of brightness each."""

import numpy as np

from pipeline.compiled import compiled
from pipeline.frames import FloatArray
from pipeline.pixels import Plane

_SAMPLES = 400
"""Of each person."""
_PLACES = np.arange(1, _SAMPLES + 1)[:, None] * np.array([0.7548777, 0.5698403]) % 1
"""(samples, 2) which fill a square evenly, but without rows and columns, lest stripes fall between them."""
_CORNER, _MIDDLE = (0.2, 0.05), (0.6, 0.8)
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
    return _quality(boxes, scores, float(size[0]), float(size[1]), float(full_height))


@compiled
def _quality(
    boxes: FloatArray, scores: FloatArray, across: float, down: float, full_height: float
) -> FloatArray:
    value = np.empty(len(boxes), np.float32)
    for i in range(len(boxes)):
        left, top, right, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        width, height = right - left, bottom - top
        large = min(max(height / max(full_height, 1.0), 0.0), 1.0)
        upright = min(max(height / max(width, 1.0) - 0.8, 0.0), 1.0)
        whole = min(max(6 * width / max(height, 1.0), 0.0), 1.0)  # a sliver is most likely cut
        cut = min(abs(left), abs(top), abs(right - across), abs(bottom - down)) < 2
        hidden = 0.0
        for j in range(len(boxes)):
            wide = min(right, boxes[j, 2]) - max(left, boxes[j, 0])
            high = min(bottom, boxes[j, 3]) - max(top, boxes[j, 1])
            if boxes[j, 3] > bottom and wide > 0 and high > 0:
                hidden = max(hidden, wide * high / max(width * height, 1.0))
        value[i] = scores[i] * large * upright * whole * (0.6 if cut else 1.0) * (1 - hidden)
    return value


def sharpness(luma: Plane, boxes: FloatArray) -> FloatArray:
    """(N,) 0…1 for people (N, 4) within a picture's brightness (H, W): 0 blurred, 1 sharp, or nothing to see.

    Brightness is compared at a near and at a far distance: where edges are sharp, the near difference is half of
    the far one (root of mean squares), and where they are blurred less, whatever the contrast and the size.
    The worse of both directions counts, because motion blurs in one. The picture's border goes on for ever.
    """
    luma = luma.view()
    luma.flags.writeable = False  # one thing less by which what is compiled can differ
    return _sharpness(luma, boxes, _PLACES)


@compiled
def _sharpness(luma: Plane, boxes: FloatArray, places: FloatArray) -> FloatArray:
    down, across = luma.shape[0] - 1, luma.shape[1] - 1
    value = np.empty(len(boxes), np.float32)
    differences = np.empty(4)
    """Near and far across, near and far down: sums of squares."""
    for i in range(len(boxes)):
        width, height = boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1]
        step = max(1, round(height / _STEPS))
        left, top = boxes[i, 0] + width * _CORNER[0], boxes[i, 1] + height * _CORNER[1]
        wide = max(width * _MIDDLE[0] - _FAR * step, 0.0)
        high = max(height * _MIDDLE[1] - _FAR * step, 0.0)
        differences[:] = 0.0
        for k in range(len(places)):
            x, y = int(left + wide * places[k, 0]), int(top + high * places[k, 1])
            row, column = min(max(y, 0), down), min(max(x, 0), across)
            here = float(luma[row, column])
            for n in range(2):
                apart = step * (_FAR if n else 1)
                aside = float(luma[row, min(max(x + apart, 0), across)])
                below = float(luma[min(max(y + apart, 0), down), column])
                differences[n] += (aside - here) ** 2
                differences[2 + n] += (below - here) ** 2
        differences /= len(places)
        ratio = min(
            (differences[0] + _NOISE) / (differences[1] + _NOISE),
            (differences[2] + _NOISE) / (differences[3] + _NOISE),
        )
        value[i] = min(max((np.sqrt(ratio) - _BLURRED) / (_SHARP - _BLURRED), 0.0), 1.0)
    return value


def warm_up() -> None:
    """Compile, or load what was compiled before, for planes with and without space between their rows."""
    box = np.array([[0, 0, 4, 8]], np.float32)
    quality(box, box[:, 3], (8, 8), 8.0)
    for stride in (8, 16):
        sharpness(np.zeros((8, stride), np.uint8)[:, :8], box)
