"""Annotated video: what each camera saw, with boxes in the colour of the identity.

Drawn on brightness and colour as the decoder left them and the encoder wants them, on a thread of its own: the
loop waits only if that one is many frames behind.
"""

import colorsys
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from queue import Queue
from threading import Thread

import av
import cv2
import numpy as np

from pipeline.compiled import compiled
from pipeline.frames import IdentityEvent
from pipeline.pixels import Plane
from pipeline.publish.sink import Passed, Sighting

_TICKS = 1000
_LONGEST = 12 * 3600 * _TICKS
"""For which one frame is shown: the format has no room for a day and a half."""
_FRAGMENT = 100
"""Frames, at most, that a killed run takes from the end of its videos."""
_BACKLOG = 16
"""Frames that may wait to be encoded."""
_GOLDEN = 0.6180339887
_UNKNOWN = (160, 160, 160)
_WHITE = (255, 255, 255)


class AnnotatedVideos:
    """`<camera>.mp4`, each frame shown at the time at which it was taken.

    A clock that was set, or half a day without a picture, passes in a second.
    """

    def __init__(self, folder: Path, coarse: int = 26) -> None:
        """`coarse` is x264's quantiser, and fixed: choosing one for each frame takes it half as long again."""
        self._folder, self._coarse = folder, coarse
        self._videos: dict[str, _Video] = {}
        self._waiting: Queue[Sighting | None] = Queue(_BACKLOG)
        self._failure: Exception | None = None
        nothing = np.zeros((2, 2), np.uint8)
        _draw(nothing, 0, 0, 0, 0, 1, 0, nothing)  # compiled before use
        self._thread = Thread(target=self._run, name="annotated video", daemon=True)
        self._thread.start()

    def sighting(self, sighting: Sighting) -> None:
        """Takes it and returns; what went wrong with an earlier one is raised now."""
        if self._failure is not None:
            raise self._failure
        self._waiting.put(sighting)

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Shown by colour and number, from the next frame on."""

    def passed(self, tracks: Sequence[Passed]) -> None:
        """What was drawn stays."""

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Everything that was taken is in the videos when this returns."""
        self._waiting.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (sighting := self._waiting.get()) is not None:
            if self._failure is None:
                self._attempt(lambda shown=sighting: self._write(shown))  # type: ignore[misc]
        for video in self._videos.values():
            self._attempt(video.close)

    def _attempt(self, work: Callable[[], None]) -> None:
        """The loop hears of the first failure; after it, frames are taken and left out."""
        try:
            work()
        except Exception as error:
            self._failure = self._failure or error

    def _write(self, sighting: Sighting) -> None:
        camera, planes = sighting.frame.camera, annotate(sighting)
        if camera not in self._videos:
            size = planes.shape[1], planes.shape[0] * 2 // 3
            path = self._folder / f"{camera}.mp4"
            _claim(self._folder / "tracks" / f"{camera}.txt")
            self._videos[camera] = _Video(path, size, self._coarse, sighting.frame.time)
        self._videos[camera].write(planes, sighting.frame.time)


def _claim(tracks: Path) -> None:
    """A video goes where the tracks beside it go, even if nothing could be written into them."""
    tracks.parent.mkdir(exist_ok=True)
    tracks.touch()


def annotate(sighting: Sighting) -> Plane:
    """The picture with a box and a number on everybody: (H·3/2, W) uint8, Y, U and V below each other."""
    planes = sighting.frame.pixels.yuv420()
    views = _views(planes)
    height, width = views[1].shape  # boxes are drawn in whole samples of colour
    boxes = np.clip(sighting.tracks.boxes / 2, -1, [width, height] * 2).astype(int).tolist()
    for (left, top, right, bottom), identity in zip(
        boxes, sighting.identities.tolist(), strict=True
    ):
        colour, *label = _label(identity)
        for plane, value, stamp, samples in zip(views, colour, label, (2, 1, 1), strict=True):
            _draw(plane, left, top, right, bottom, samples, value, stamp)
    return planes


@compiled
def _draw(
    plane: Plane,
    left: int,
    top: int,
    right: int,
    bottom: int,
    samples: int,
    value: int,
    stamp: Plane,
) -> None:
    """A box's border, `samples` wide, and its label, whose lower edge is the box's upper one where there is room."""
    height, width = plane.shape
    ends = min(samples * (right + 1), width)
    begins, inner = samples * max(left, 0), samples * max(left + 1, 0)
    outer = max(samples * max(right, 0), begins)
    for row in range(samples * max(top, 0), min(samples * (bottom + 1), height)):
        if row < samples * (top + 1) or row >= samples * max(bottom, 0):
            plane[row, begins:ends] = value
        else:
            plane[row, begins : min(inner, ends)] = value
            plane[row, outer:ends] = value
    high, wide = stamp.shape
    first = samples * max(top - high // samples, 0)
    for row in range(min(high, height - first)):
        for column in range(min(wide, width - begins)):
            plane[first + row, begins + column] = stamp[row, column]


@lru_cache(maxsize=512)
def _label(identity: int) -> tuple[tuple[int, int, int], Plane, Plane, Plane]:
    """The colour of an identity, and its number on that colour: in Y, U and V. Drawing costs more than copying."""
    text, bgr = (str(identity), colour_of(identity)) if identity else ("?", _UNKNOWN)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    image = np.full((height + 7 & ~1, width + 7 & ~1, 3), bgr, np.uint8)
    cv2.putText(image, text, (3, height + 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _WHITE, 1, cv2.LINE_AA)
    y, u, v = _views(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8))
    return (int(y[0, 0]), int(u[0, 0]), int(v[0, 0])), y, u, v


def _views(planes: Plane) -> list[Plane]:
    """Y, U and V, each an array of its own shape in the same memory."""
    width, height = planes.shape[1], planes.shape[0] * 2 // 3
    small = (height // 2, width // 2)
    colours = planes[height:].reshape(2, *small)
    return [planes[:height], colours[0], colours[1]]


def colour_of(identity: int) -> tuple[int, int, int]:
    """BGR: far from those of the numbers beside it, and the same wherever it is shown."""
    red, green, blue = colorsys.hsv_to_rgb(identity * _GOLDEN % 1, 0.75, 0.8)
    return int(blue * 255), int(green * 255), int(red * 255)


class _Video:
    def __init__(self, path: Path, size: tuple[int, int], coarse: int, start: float) -> None:
        # In fragments: the file can be played at any time, closing takes no time, and no index grows.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._file = path.open("wb")  # of Python: FFmpeg's own keeps a full disk to itself
        self._container = av.open(self._file, "w", format="mp4", options=options)
        self._stream = self._container.add_stream("libx264", rate=Fraction(25))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"qp": str(coarse), "preset": "ultrafast", "g": str(_FRAGMENT)}
        self._stream.codec_context.thread_count = 1  # the cores have better things to do
        self._stream.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._start, self._last, self._size = start, -1, size

    def write(self, planes: Plane, time: float) -> None:
        if planes.shape != (self._size[1] * 3 // 2, self._size[0]):
            planes = self._resized(planes)  # the camera changed its resolution
        # PyAV takes the place of the colours for another one where half the height is odd: there it gets a copy.
        wrap = av.VideoFrame.from_ndarray if self._size[1] % 4 else av.VideoFrame.from_numpy_buffer
        frame = wrap(planes, format="yuv420p")
        shown = round((time - self._start) * _TICKS)
        if self._last >= 0 and not -_TICKS < shown - self._last <= _LONGEST:
            self._start = time - self._last / _TICKS - 1
            shown = self._last + _TICKS
        self._last = max(self._last + 1, shown)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        self._file.flush()

    def close(self) -> None:
        with self._file:
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _resized(self, planes: Plane) -> Plane:
        resized = np.empty((self._size[1] * 3 // 2, self._size[0]), np.uint8)
        for plane, target in zip(_views(planes), _views(resized), strict=True):
            cv2.resize(plane, target.shape[::-1], dst=target)
        return resized
