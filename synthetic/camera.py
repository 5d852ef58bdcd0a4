"""Cameras: where they stand, how they project, and what their optics do to the picture.

World axes: x and y on the floor in metres, z up. Camera axes as in OpenCV: x right, y down, z
ahead.
Pixel centres have integer coordinates plus one half: the frame spans 0…width by 0…height.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synthetic.compiled import compiled

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Optics:
    """What makes one camera's picture differ from another's."""

    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gains of red, green and blue."""
    contrast: float = 1.0
    noise: float = 2.0
    """Standard deviation in grey levels of 255."""
    blur: float = 0.5
    """Standard deviation of the lens blur, in pixels of a frame 960 wide."""
    vignette: float = 0.15
    """Share of light lost in the corners."""
    shutter: float = 0.012
    """Seconds that the shutter stays open: the source of motion blur."""
    crf: int = 23
    """x264 constant rate factor."""


@dataclass(frozen=True)  # no slots: what follows from the fields is kept once computed
class Camera:
    """A camera that stands still."""

    name: str
    position: tuple[float, float, float]
    look_at: tuple[float, float, float]
    fov: float
    """Horizontal field of view in degrees, before distortion."""
    size: tuple[int, int]
    """Width, height in pixels."""
    k1: float = 0.0
    """First radial distortion coefficient, OpenCV's convention."""
    optics: Optics = field(default_factory=Optics)

    @cached_property
    def matrix(self) -> Floats:
        """(3, 3) intrinsic matrix."""
        width, height = self.size
        focal = width / 2 / np.tan(np.radians(self.fov) / 2)
        return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])

    @cached_property
    def rotation(self) -> Floats:
        """(3, 3): world axes to camera axes."""
        ahead = np.subtract(self.look_at, self.position)
        ahead = ahead / np.linalg.norm(ahead)
        right = np.cross(ahead, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(ahead, right), ahead])

    @cached_property
    def translation(self) -> Floats:
        """(3,): camera = rotation @ world + translation."""
        translation: Floats = -self.rotation @ np.asarray(self.position)
        return translation

    @cached_property
    def homography(self) -> Floats:
        """(3, 3): floor (x, y, 1) in metres to *undistorted* pixels, scaled so that its last
        element is 1.
        """
        plane = np.column_stack([self.rotation[:, 0], self.rotation[:, 1], self.translation])
        mapping: Floats = self.matrix @ plane
        mapping /= mapping[2, 2]
        return mapping

    @cached_property
    def fold(self) -> float:
        """Squared radius, in focal lengths, beyond which barrel distortion would turn back."""
        return 1 / (3 * -self.k1) if self.k1 < 0 else np.inf

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """World points (N, 3) to pixels (N, 2) and depths (N,), ≤ 0 behind the camera."""
        local = points @ self.rotation.T + self.translation
        depth = local[:, 2]
        plane = local[:, :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth)[:, None]
        squared = np.minimum((plane**2).sum(axis=1, keepdims=True), self.fold)
        plane = plane * (1 + self.k1 * squared)
        return plane * self.matrix[0, 0] + self.matrix[:2, 2], depth

    def plane(self, pixels: Floats) -> Floats:
        """Where pixels (N, 2) lie on the plane a metre before the camera, the lens's bend undone."""
        plane: Floats = (pixels - self.matrix[:2, 2]) / self.matrix[0, 0]
        if self.k1:
            _straighten(plane, self.k1)
        return plane

    def through(self, plane: Floats) -> Floats:
        """World directions (N, 3), one metre of depth long, through points (N, 2) of that plane."""
        local = np.column_stack([plane, np.ones(len(plane))])
        return local @ self.rotation

    def rays(self, pixels: Floats) -> Floats:
        """The same through pixels (N, 2)."""
        return self.through(self.plane(pixels))


@compiled
def _straighten(plane: Floats, k1: float) -> None:
    """Undo the bend of points (N, 2), in place: by a fixed point, which mild distortion converges to in four."""
    for i in range(len(plane)):
        bent, below = plane[i, 0], plane[i, 1]
        x, y = bent, below
        for _ in range(8):
            stretch = 1.0 + k1 * (x * x + y * y)
            x, y = bent / stretch, below / stretch
        plane[i, 0], plane[i, 1] = x, y
