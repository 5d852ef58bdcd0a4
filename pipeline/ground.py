"""The floor: where on a site people stand, told by where in a picture their feet are.

A camera's picture of a flat floor differs from the floor's plan by a homography, once the lens's bend is undone.
How sure a position is varies over the picture: near the horizon a pixel is metres.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


class FloorMap:
    """Pixels of one camera to its floor and back."""

    def __init__(self, settings: GroundSettings) -> None:
        matrix = np.array(settings.floor, np.float64)
        where = f"[[ground]] of camera '{settings.camera}'"
        if matrix.shape != (9,) or abs(np.linalg.det(matrix.reshape(3, 3))) <= 1e-12 * (
            np.abs(matrix).max() ** 3
        ):
            raise SettingsError(f"{where}: floor must be nine numbers of a homography")
        if len(settings.lens) not in {0, 6}:
            raise SettingsError(f"{where}: lens must be six numbers: fx, fy, cx, cy, k1, k2")
        if len(settings.size) != 2 or min(settings.size) < 1 or not settings.error > 0:
            raise SettingsError(f"{where} needs the picture's size and an error above 0")
        self.settings = settings
        self._lens = np.array(settings.lens or (1.0, 1, 0, 0, 0, 0), np.float64)
        matrix = matrix.reshape(3, 3)
        middle = self._straight(np.array([[settings.size[0] / 2, settings.size[1] - 1.0]]))[0]
        depth = matrix[2] @ [*middle, 1.0]
        if not np.isfinite(depth):
            raise SettingsError(
                f"{where}: its lens would bend the picture's lower border over itself"
            )
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

    def feet(self, boxes: FloatArray, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """People's boxes (N, 4) → where they stand (N, 2), and its covariance as xx, xy, yy (N, 3).

        NaN where the feet are not in the picture, or so far away that the place means nothing.
        """
        wide = boxes.astype(np.float64)
        pixels = np.stack([(wide[:, 0] + wide[:, 2]) / 2, wide[:, 3]], axis=1)
        places, slope = self.locate(pixels, size)
        shake = (wide[:, 3] - wide[:, 1])[:, None] * FOOT
        across, along = slope[:, :, 0] * shake[:, :1], slope[:, :, 1] * shake[:, 1:]
        spread = np.stack(
            [
                across[:, 0] ** 2 + along[:, 0] ** 2,
                across[:, 0] * across[:, 1] + along[:, 0] * along[:, 1],
                across[:, 1] ** 2 + along[:, 1] ** 2,
            ],
            axis=1,
        )
        cut = (wide[:, 3] > size[1] - _EDGE) | (wide[:, 0] < _EDGE) | (wide[:, 2] > size[0] - _EDGE)
        places[cut] = np.nan
        return places, spread

    def statures(self, boxes: FloatArray, places: Floats, size: tuple[int, int]) -> Floats:
        """How tall people are (N,), in metres, whose boxes (N, 4) stand at `places` (N, 2) of the floor.

        NaN where that is not known: the floor has no metres, or the box ends at the picture's border, or holds no
        more than a part of somebody.
        """
        if self._up is None:
            return np.full(len(boxes), np.nan)
        wide = boxes.astype(np.float64)
        top = np.stack([(wide[:, 0] + wide[:, 2]) / 2, wide[:, 1]], axis=1)
        foot = places @ self._back[:, :2].T + self._back[:, 2]
        head = self.straight(top, size)[:, 1]
        tall = (foot[:, 1] - head * foot[:, 2]) / (head * self._up[2] - self._up[1])
        whole = (wide[:, 1] >= _EDGE) & (tall > _TALL[0]) & (tall < _TALL[1])
        return np.where(whole, tall, np.nan)

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
        return self._straight(np.asarray(pixels, np.float64) * self._scale(size))

    def _scale(self, size: tuple[int, int] | None) -> Floats:
        """Of a picture's pixels to those of the calibration."""
        if size is None:
            return np.ones(2)
        return np.array(self.settings.size) / np.array(size, np.float64)

    def _straight(self, pixels: Floats) -> Floats:
        fx, fy, cx, cy, k1, k2 = self._lens
        if k1 == k2 == 0:
            return pixels
        bent = (pixels - (cx, cy)) / (fx, fy)
        radius = np.hypot(*bent.T)
        share = _unbent(radius, k1, k2) / np.where(radius > 0, radius, 1.0)
        share[radius == 0] = 1.0
        straight: Floats = bent * share[:, None] * (fx, fy) + (cx, cy)
        return straight


def _focal_length(back: Floats, cx: float, cy: float) -> float:
    """In pixels: at which the floor's axes are at right angles and equally long, by least squares. NaN if at none."""
    x = back[0, :2] - cx * back[2, :2]
    y = back[1, :2] - cy * back[2, :2]
    z = back[2, :2]
    seen = np.array([x[0] * x[1] + y[0] * y[1], x[0] ** 2 + y[0] ** 2 - x[1] ** 2 - y[1] ** 2])
    deep = np.array([z[0] * z[1], z[0] ** 2 - z[1] ** 2])
    squared = -(deep @ seen) / max(deep @ deep, 1e-300)
    return float(np.sqrt(squared)) if squared > 0 else np.nan


def _unbent(radius: Floats, k1: float, k2: float) -> Floats:
    """How far from the middle a lens without bend would show what one shows at `radius`; NaN where no way leads.

    Newton's method: a wide lens bends the picture's border so much that a fixed point is not reached.
    """
    found = radius.astype(np.float64)
    for _ in range(_ROUNDS):
        squared = found**2
        slope = 1 + 3 * k1 * squared + 5 * k2 * squared**2
        off = found * (1 + k1 * squared + k2 * squared**2) - radius
        found = found - off / np.where(slope > 0, slope, np.nan)
        if not (np.abs(off) > _CLOSE).any():
            break
    return np.where(np.abs(off) > _CLOSE, np.nan, found)
