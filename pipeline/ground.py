"""The floor: where on a site people stand, told by where in a picture their feet are.

A camera's picture of a flat floor differs from the floor's plan by a homography, once the lens's bend is undone.
How sure a position is varies over the picture: near the horizon a pixel is metres.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.errors import SettingsError
from pipeline.frames import FloatArray

Floats = NDArray[np.float64]

METRES = "floor"
"""The frame of cameras calibrated in metres. Another frame is named after the camera in whose pixels it is."""
FOOT = (0.02, 0.03)
"""How far a box's lower middle is off the feet, across and along, in heights of the box: one deviation."""
PERSON = 1.7
"""Metres: what a person is taken to be tall, or a box's height to span, where nothing better is known."""
SMALLEST = 40.0
"""Pixels across which `PERSON` must measure where people are still followed: the end of a camera's view."""
_AWRY = 0.1
"""How far from a right angle, and how unequal, the axes of a floor may be of which a third is made."""
_TALL = (0.8, 2.3)
"""Metres between which people measure who stand there with feet and head."""
_ROUNDS, _CLOSE = 20, 1e-6
"""At most, to undo a lens's bend, and how near that must come, in focal lengths."""
_FARTHEST = 1e5
"""Metres from the floor's origin: places are kept in 32 bits, which are a centimetre there."""
_EDGE = 2.0
"""Pixels from the picture's border within which a box is taken to be cut by it."""


@dataclass(frozen=True, slots=True)
class GroundSettings:
    """Where one camera's picture shows which part of the floor. One [[ground]] a camera; `calibration ground`
    writes it.
    """

    camera: str
    size: tuple[int, int]
    """Width and height of the picture that the numbers are for; others are scaled to it."""
    floor: tuple[float, ...]
    """Nine numbers, row by row: undistorted pixels to the floor."""
    error: float
    """How far off positions are that no averaging improves: one deviation, in units of the frame."""
    lens: tuple[float, ...] = ()
    """Focal lengths, middle, and two radial coefficients, as OpenCV has them; empty where the lens is straight."""
    frame: str = METRES
    view: tuple[tuple[float, float], ...] = ()
    """Outline of the floor that the camera sees."""


@dataclass(frozen=True, slots=True)
class OverlapSettings:
    """What two cameras both see. One [[overlap]] a pair; `calibration ground` writes it."""

    cameras: tuple[str, str]
    floor: tuple[tuple[float, float], ...]
    """Outline, in the frame of both cameras."""


def _check_floor(matrix: Floats, below: Floats, metres: bool, where: str) -> None:
    """That it tells places apart, wherever the floor's origin is, and in the numbers that places are kept in.

    `below`: the lower border's middle on the floor, homogeneous.
    """
    place = below[:2] / below[2] if below[2] else np.full(2, np.nan)
    if np.isfinite(place).all():
        matrix = matrix - np.outer([*place, 0.0], matrix[2])  # from there on
    largest = np.abs(matrix).max(axis=1).prod()
    if not abs(np.linalg.det(matrix)) > 1e-12 * largest:
        raise SettingsError(f"{where}: floor must be nine numbers of a homography")
    if metres and np.abs(place).max() > _FARTHEST:
        raise SettingsError(
            f"{where}: the floor's origin is {np.abs(place).max():.0f} m away, where places would be rounded by "
            f"centimetres: choose one within {_FARTHEST:.0f} m"
        )


class FloorMap:
    """Pixels of one camera to its floor and back."""

    def __init__(self, settings: GroundSettings) -> None:
        matrix = np.array(settings.floor, np.float64)
        where = f"[[ground]] of camera '{settings.camera}'"
        if matrix.shape != (9,) or not np.isfinite(matrix).all():
            raise SettingsError(f"{where}: floor must be nine numbers of a homography")
        if len(settings.lens) not in {0, 6} or (settings.lens and not min(settings.lens[:2]) > 0):
            raise SettingsError(
                f"{where}: lens must be six numbers: fx, fy, cx, cy, k1, k2, the first two above 0"
            )
        if len(settings.size) != 2 or min(settings.size) < 1 or not settings.error > 0:
            raise SettingsError(f"{where} needs the picture's size and an error above 0")
        self.settings = settings
        self._lens = np.array(settings.lens or (1.0, 1, 0, 0, 0, 0), np.float64)
        matrix = matrix.reshape(3, 3)
        middle = _unbent(settings.size[0] / 2, settings.size[1] - 1.0, self._lens)
        depth = matrix[2] @ [*middle, 1.0]
        if not np.isfinite(depth):
            raise SettingsError(
                f"{where}: its lens would bend the picture's lower border over itself"
            )
        _check_floor(matrix, matrix @ [*middle, 1.0], settings.frame == METRES, where)
        self._matrix = matrix * np.sign(depth or 1.0)
        """(3, 3) with the sign at which what lies below the horizon has a positive depth."""
        self._back = np.linalg.inv(self._matrix)
        self._up = self._rise()
        """(3,) what a metre upwards adds to the homogeneous pixel of a place; None where it is not known."""

    def __call__(self, pixels: Floats, size: tuple[int, int] | None = None) -> Floats:
        """(N, 2) pixels of a picture of (width, height) → (N, 2) on the floor; NaN from the horizon up."""
        return self.locate(pixels, size)[0]

    def locate(self, pixels: Floats, size: tuple[int, int] | None = None) -> tuple[Floats, Floats]:
        """As above, with the (N, 2, 2) change of the position per pixel across and along."""
        scale, straight = self._scale(size), self.straight(pixels, size)
        homogeneous = straight @ self._matrix[:, :2].T + self._matrix[:, 2]
        depth = np.where(homogeneous[:, 2] > 1e-9, homogeneous[:, 2], np.nan)[:, None]
        places = homogeneous[:, :2] / depth
        slope = (self._matrix[:2, :2] - places[:, :, None] * self._matrix[2, :2]) / depth[..., None]
        return places, slope * scale

    def pixels(self, places: Floats) -> Floats:
        """(N, 2) on the floor → (N, 2) pixels of a picture of the calibrated size; NaN behind the camera."""
        homogeneous = np.asarray(places, np.float64) @ self._back[:, :2].T + self._back[:, 2]
        # The image of a place is in front if it maps back with a positive depth, which is 1 / this one.
        depth = np.where(homogeneous[:, 2] > 1e-12, homogeneous[:, 2], np.nan)[:, None]
        fx, fy, cx, cy, k1, k2 = self._lens
        plane = (homogeneous[:, :2] / depth - (cx, cy)) / (fx, fy)
        squared = (plane**2).sum(axis=1, keepdims=True)
        bent: Floats = plane * (1 + k1 * squared + k2 * squared**2) * (fx, fy) + (cx, cy)
        return bent

    def stand(self, boxes: FloatArray, size: tuple[int, int]) -> Floats:
        """People's boxes (N, 4) → (N, 6): where they stand, x and y, its covariance as xx, xy, yy, and how tall they
        are, in metres.

        All NaN where the feet are not in the picture, or so far away that the place means nothing. Only the height is
        where that is not known: the floor has no metres, or the box ends at the picture's border, or holds no more
        than a part of somebody.
        """
        found = np.full((len(boxes), 6), np.nan)
        up = np.full(3, np.nan) if self._up is None else self._up
        across, down = map(float, size)
        maps = self._scale(size), self._lens, self._matrix, self._back, up
        _stand(boxes.astype(np.float64), across, down, maps, found)
        return found

    def _rise(self) -> Floats | None:
        """The third column of the camera's matrix, of which the floor's homography is the other three.

        The axes of the floor are at right angles and equally long, and so is the third: that tells the focal length
        too, if no lens does. Where they are not, the floor was measured too badly to say how tall people are.
        """
        if self.settings.frame != METRES:
            return None
        if self.settings.lens:
            fx, fy, cx, cy = self._lens[:4]
        else:
            cx, cy = np.array(self.settings.size) / 2
            fx = fy = _focal_length(self._back, cx, cy)
        inner = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        if not (np.isfinite(fx) and abs(np.linalg.det(inner)) > 0):
            return None
        one, other = np.linalg.solve(inner, self._back[:, :2]).T
        lengths = np.linalg.norm(one), np.linalg.norm(other)
        skew = abs(one @ other) / (lengths[0] * lengths[1])
        if skew > _AWRY or abs(np.log(lengths[0] / lengths[1])) > _AWRY:
            return None
        up = np.cross(one, other) / np.sqrt(lengths[0] * lengths[1])
        if abs(up[1]) < _AWRY * np.linalg.norm(up):  # seen from above, nobody has a height
            return None
        upright: Floats = inner @ (up * -np.sign(up[1]))
        return upright

    def straight(self, pixels: Floats, size: tuple[int, int] | None = None) -> Floats:
        """(N, 2) pixels as a lens without bend would show them, in a picture of the calibrated size."""
        scaled: Floats = np.asarray(pixels, np.float64) * self._scale(size)
        _straighten(scaled, self._lens)
        return scaled

    def _scale(self, size: tuple[int, int] | None) -> Floats:
        """Of a picture's pixels to those of the calibration."""
        if size is None:
            return np.ones(2)
        return np.array(self.settings.size) / np.array(size, np.float64)


def _focal_length(back: Floats, cx: float, cy: float) -> float:
    """In pixels: at which the floor's axes are at right angles and equally long, by least squares. NaN if at none."""
    x = back[0, :2] - cx * back[2, :2]
    y = back[1, :2] - cy * back[2, :2]
    z = back[2, :2]
    seen = np.array([x[0] * x[1] + y[0] * y[1], x[0] ** 2 + y[0] ** 2 - x[1] ** 2 - y[1] ** 2])
    deep = np.array([z[0] * z[1], z[0] ** 2 - z[1] ** 2])
    squared = -(deep @ seen) / max(deep @ deep, 1e-300)
    return float(np.sqrt(squared)) if squared > 0 else np.nan


@compiled
def _stand(
    boxes: Floats,
    across: float,
    down: float,
    maps: tuple[Floats, Floats, Floats, Floats, Floats],
    found: Floats,
) -> None:
    """As `FloorMap.stand` says, written into `found`, which is all NaN."""
    scale, lens, floor, back, up = maps
    for i in range(len(boxes)):
        left, top, right, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        if bottom > down - _EDGE or left < _EDGE or right > across - _EDGE:
            continue
        middle = (left + right) / 2 * scale[0]
        u, v = _unbent(middle, bottom * scale[1], lens)
        depth = floor[2, 0] * u + floor[2, 1] * v + floor[2, 2]
        if not depth > 1e-9:
            continue
        x = (floor[0, 0] * u + floor[0, 1] * v + floor[0, 2]) / depth
        y = (floor[1, 0] * u + floor[1, 1] * v + floor[1, 2]) / depth
        shake = (bottom - top) / depth
        aside, along = shake * FOOT[0] * scale[0], shake * FOOT[1] * scale[1]
        xu, xv = (floor[0, 0] - x * floor[2, 0]) * aside, (floor[0, 1] - x * floor[2, 1]) * along
        yu, yv = (floor[1, 0] - y * floor[2, 0]) * aside, (floor[1, 1] - y * floor[2, 1]) * along
        found[i, 0], found[i, 1] = x, y
        found[i, 2], found[i, 3], found[i, 4] = xu**2 + xv**2, xu * yu + xv * yv, yu**2 + yv**2
        foot = back[1, 0] * x + back[1, 1] * y + back[1, 2]
        deep = back[2, 0] * x + back[2, 1] * y + back[2, 2]
        head = _unbent(middle, top * scale[1], lens)[1]
        rise = head * up[2] - up[1]
        if top >= _EDGE and rise != 0.0:
            tall = (foot - head * deep) / rise
            if _TALL[0] < tall < _TALL[1]:
                found[i, 5] = tall


@compiled
def _straighten(pixels: Floats, lens: Floats) -> None:
    """All of them (N, 2), in place."""
    for i in range(len(pixels)):
        pixels[i, 0], pixels[i, 1] = _unbent(pixels[i, 0], pixels[i, 1], lens)


@compiled
def _unbent(x: float, y: float, lens: Floats) -> tuple[float, float]:
    """Where a lens without bend would show what one shows at that pixel; NaN where no way leads.

    Newton's method: a wide lens bends the picture's border so much that a fixed point is not reached.
    """
    fx, fy, cx, cy, k1, k2 = lens[0], lens[1], lens[2], lens[3], lens[4], lens[5]
    if k1 == 0.0 and k2 == 0.0:
        return x, y
    aside, along = (x - cx) / fx, (y - cy) / fy
    radius = np.hypot(aside, along)
    found, share = radius, 1.0
    for _ in range(_ROUNDS):
        squared = found**2
        slope = 1.0 + 3.0 * k1 * squared + 5.0 * k2 * squared**2
        off = found * (1.0 + k1 * squared + k2 * squared**2) - radius
        if not slope > 0.0:
            return np.nan, np.nan
        found -= off / slope
        if abs(off) <= _CLOSE:
            share = found / radius if radius > 0.0 else 1.0
            return aside * share * fx + cx, along * share * fy + cy
    return np.nan, np.nan
