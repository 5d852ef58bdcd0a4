"""What a camera saw, as it came: turned into BGR only where and as far as somebody looks."""

from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""
Plane: TypeAlias = NDArray[np.uint8]
"""(height, width) uint8."""


class Pixels(Protocol):
    """A picture in whatever form its source has it. Any thread may ask."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        ...

    def whole(self) -> Image:
        """All of it. Not to be written into: it may be the source's own."""
        ...

    def fill(self, target: Image) -> None:
        """All of it, shrunk or enlarged to the size of `target`, which may be part of a larger array."""
        ...

    def part(self, left: int, top: int, right: int, bottom: int) -> Image:
        """What `whole()[top:bottom, left:right]` shows, without converting the rest."""
        ...

    def luma(self) -> Plane:
        """Brightness, in the source's own range; not to be written into."""
        ...

    def yuv420(self) -> Plane:
        """(H·3/2, W) uint8, the caller's own: Y, U and V below each other as video encoders want them, of an
        even size that leaves out the last row or column of an odd one."""
        ...


def as_pixels(shown: "Image | Pixels") -> Pixels:
    """An array as what it is, too."""
    return ArrayPixels(shown) if isinstance(shown, np.ndarray) else shown


class ArrayPixels:
    """A picture that is an array already."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        return self._image.shape[1], self._image.shape[0]

    def whole(self) -> Image:
        return self._image

    def fill(self, target: Image) -> None:
        size = target.shape[1], target.shape[0]
        cv2.resize(self._image, size, dst=target, interpolation=cv2.INTER_LINEAR)

    def part(self, left: int, top: int, right: int, bottom: int) -> Image:
        return self._image[top:bottom, left:right]

    def luma(self) -> Plane:
        return self._image[..., 1]  # green is most of it

    def yuv420(self) -> Plane:
        width, height = (n & ~1 for n in self.size)
        return np.asarray(
            cv2.cvtColor(self._image[:height, :width], cv2.COLOR_BGR2YUV_I420), np.uint8
        )
