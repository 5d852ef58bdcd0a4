"""From light to pixels: vignette, exposure, white balance, tone curve, lens blur and noise."""

import math
from copy import copy

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.camera import Camera, Optics
from synthetic.compiled import compiled

Floats32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_STEPS = 4096
_BRIGHTEST = 4.0
_TILE = 1 << 18


class Sensor:
    """The optics and electronics of one camera."""

    def __init__(self, camera: Camera, seed: int) -> None:
        width, height = camera.size
        y, x = np.mgrid[0:height, 0:width]
        radius = (
            np.hypot((x + 0.5) / width - 0.5, ((y + 0.5) / height - 0.5) * height / width) / 0.57
        )
        self._squared = radius**2
        self._width = width
        rng = np.random.default_rng([seed, 11, *camera.name.encode()])
        self._grain = rng.normal(0, 1, _TILE)
        self._salt = int(rng.integers(1 << 30))
        self._tune(camera.optics)

    def tuned(self, optics: Optics) -> "Sensor":
        """The same camera with other optics."""
        other = copy(self)
        other._tune(optics)
        return other

    def _tune(self, optics: Optics) -> None:
        vignette = optics.exposure * (1 - optics.vignette * self._squared)
        self._vignette = vignette.astype(np.float32)
        self._gains = np.array(optics.white_balance, dtype=np.float32)
        self._curve = _curve(optics.contrast)
        self._sigma = optics.blur * self._width / 960
        noise = np.clip(np.rint(optics.noise * self._grain), -127, 127)
        self._noise = noise.astype(np.int16)

    def develop(
        self,
        back: Floats32,
        total: Floats32,
        cover: Floats32,
        shade: Floats32,
        index: int,
        corner: tuple[int, int],
    ) -> Bytes:
        """Picture (h, w, 3) BGR of a cut of the frame whose left top is `corner`."""
        height, width = cover.shape
        left, top = corner
        vignette = self._vignette[top : top + height, left : left + width]
        clean = np.empty((height, width, 3), dtype=np.uint8)
        _expose(back, total, cover, shade, vignette, self._gains, self._curve, clean)
        if self._sigma > 0.2:
            clean = np.asarray(cv2.GaussianBlur(clean, (0, 0), self._sigma), dtype=np.uint8)
        start = (self._salt + index * 7919) * 104729 % _TILE
        _add_noise(clean, self._noise, start)
        return clean


def _curve(contrast: float) -> Bytes:
    """Display value by the square root of light, to sqrt(_BRIGHTEST): gamma, soft shoulder."""
    light = np.linspace(0, math.sqrt(_BRIGHTEST), _STEPS) ** 2
    display = (1.18 * light / (1 + 0.18 * light**1.5)) ** (1 / 2.2)
    display = 0.45 + (np.maximum.accumulate(display) - 0.45) * contrast
    return np.rint(255 * np.clip(display, 0, 1)).astype(np.uint8)


@compiled
def _expose(
    back: Floats32, total: Floats32, cover: Floats32, shade: Floats32, vignette: Floats32, gains:
    Floats32,
    curve: Bytes, out: Bytes,
) -> None:  # fmt: skip
    height, width = cover.shape
    scale = np.float32((_STEPS - 1) / math.sqrt(_BRIGHTEST))
    for y in range(height):
        for x in range(width):
            behind = (np.float32(1.0) - cover[y, x]) * shade[y, x]
            for band in range(3):
                light = (
                    (back[y, x, band] * behind + total[y, x, band]) * vignette[y, x] * gains[band]
                )
                step = int(math.sqrt(light) * scale)
                out[y, x, 2 - band] = curve[min(step, _STEPS - 1)]


@compiled
def _add_noise(image: Bytes, noise: NDArray[np.int16], start: int) -> None:
    height, width, _ = image.shape
    size = noise.shape[0]
    for y in range(height):
        # every row begins elsewhere in the tile, so that the tile never shows
        at = (start + y * 48271) % size
        for x in range(width):
            for band in range(3):
                value = image[y, x, band] + noise[at]
                image[y, x, band] = min(255, max(0, value))
                at += 1
                if at == size:
                    at = 0
