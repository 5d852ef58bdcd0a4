"""Pictures as a decoder leaves them: planes of brightness and colour, converted by swscale on demand."""

from threading import Lock

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, VideoReformatter

from pipeline.pixels import ArrayPixels, Image, Plane

_EIGHT_BITS = frozenset(
    f"{range_}{sampling}p" for range_ in ("yuv", "yuvj") for sampling in (420, 422, 444)
)
"""Formats of three planes of bytes, from which a part can be cut."""
_SMALLEST = 32
"""Pixels: swscale converts narrower pictures differently."""
_OPENCV_KNOWS = frozenset({2, 5, 6})
"""Numbers of the colour spaces that OpenCV converts as swscale does: not said, and both kinds of BT.601."""


class Converters:
    """swscale, set up once for each thing that is done to the pictures of one feed: setting up costs more."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.whole, self.shrink, self.encode = (VideoReformatter() for _ in range(3))
        self._parts: dict[tuple[int, int], VideoReformatter] = {}

    def part(self, width: int, height: int) -> VideoReformatter:
        """The one for parts of that size. Sizes are powers of two, so there are few."""
        return self._parts.setdefault((width, height), VideoReformatter())


class DecodedPixels:
    """A frame of a decoder."""

    def __init__(self, frame: VideoFrame, converters: Converters) -> None:
        self._frame, self._converters = frame, converters
        self._planar = frame.format.name in _EIGHT_BITS

    @property
    def size(self) -> tuple[int, int]:
        return self._frame.width, self._frame.height

    def whole(self) -> Image:
        return self._bgr(self._converters.whole, *self.size)

    def fill(self, target: Image) -> None:
        height, width = target.shape[:2]
        frame = self._frame
        plain = frame.format.name == "yuv420p" and frame.colorspace in _OPENCV_KNOWS
        if plain and frame.color_range != ColorRange.JPEG and not (width | height) & 1:
            # Half the time of swscale: the planes are shrunk one by one, and only what is left is converted.
            small = np.empty((height * 3 // 2, width), np.uint8)
            for source, part in zip(_planes(frame), _cut420(small), strict=True):
                _shrink(source, part)
            cv2.cvtColor(small, cv2.COLOR_YUV2BGR_I420, dst=target)
        else:
            target[:] = self._bgr(self._converters.shrink, width, height)

    def part(self, left: int, top: int, right: int, bottom: int) -> Image:
        if not self._planar:
            return ArrayPixels(self.whole()).part(left, top, right, bottom)
        # From an even corner on, where a new sample of colour begins.
        west, north = left & ~1, top & ~1
        east, south = min(right + 1 & ~1, self.size[0]), min(bottom + 1 & ~1, self.size[1])
        size = _power_of_two(east - west), _power_of_two(south - north)
        cut = VideoFrame(*size, self._frame.format.name)
        cut.colorspace, cut.color_range = self._frame.colorspace, self._frame.color_range
        for source, target in zip(_planes(self._frame), _planes(cut), strict=True):
            across, down = size[0] // target.shape[1], size[1] // target.shape[0]
            some = source[north // down : -(-south // down), west // across : -(-east // across)]
            target[: some.shape[0], : some.shape[1]] = some
        with self._converters.lock:
            converted = self._converters.part(*size).reformat(cut, format="bgr24", threads=1)
        return _array(converted)[top - north : bottom - north, left - west : right - west]

    def luma(self) -> Plane:
        if self._planar or self._frame.format.name in ("gray", "nv12"):
            return _planes(self._frame)[0]
        return ArrayPixels(self.whole()).luma()

    def yuv420(self) -> Plane:
        width, height = (n & ~1 for n in self.size)
        frame = self._frame
        if frame.format.name != "yuv420p" or frame.color_range == ColorRange.JPEG:
            with self._converters.lock:
                frame = self._converters.encode.reformat(
                    frame, format="yuv420p", dst_color_range=ColorRange.MPEG, threads=1
                )
        planes = np.empty((height * 3 // 2, width), np.uint8)
        for plane, part in zip(_planes(frame), _cut420(planes), strict=True):
            part[:] = plane[: part.shape[0], : part.shape[1]]
        return planes

    def _bgr(self, converter: VideoReformatter, width: int, height: int) -> Image:
        with self._converters.lock:
            # One thread: with many cameras the cores are busy anyway.
            converted = converter.reformat(
                self._frame, width=width, height=height, format="bgr24", threads=1
            )
        return _array(converted)


def _cut420(planes: Plane) -> list[Plane]:
    """Y, U and V as they lie below each other in (H·3/2, W)."""
    width, height = planes.shape[1], planes.shape[0] * 2 // 3
    y, u, v = np.split(planes.reshape(-1), [height * width, height * width * 5 // 4])
    return [y.reshape(height, width), *(c.reshape(height // 2, width // 2) for c in (u, v))]


def _shrink(source: Plane, target: Plane) -> None:
    """Shrunk or enlarged, by halves as far as that goes: else most pixels would be passed over."""
    height, width = target.shape
    while source.shape[0] >= 2 * height and source.shape[1] >= 2 * width:
        half = source.shape[1] // 2, source.shape[0] // 2
        source = np.asarray(cv2.resize(source, half, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)


def _power_of_two(least: int) -> int:
    return max(_SMALLEST, 1 << (least - 1).bit_length())


def _planes(frame: VideoFrame) -> list[Plane]:
    """Views of a frame's planes of bytes."""
    return [_bytes(plane)[:, : plane.width] for plane in frame.planes]


def _array(frame: VideoFrame) -> Image:
    """A view of a frame in BGR, which it keeps alive."""
    rows = _bytes(frame.planes[0])[:, : 3 * frame.width]
    return rows.reshape(frame.height, frame.width, 3)


def _bytes(plane: VideoPlane) -> Plane:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
