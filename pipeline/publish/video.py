"""Annotated video: what each camera saw, with boxes in the colour of the identity."""

import colorsys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.frames import IdentityEvent, Image
from pipeline.publish.sink import Sighting

_TICKS = 1000
_FRAGMENT = 100
"""Frames, at most, that a killed run takes from the end of its videos."""
_GOLDEN = 0.6180339887
_UNKNOWN = (160, 160, 160)


class AnnotatedVideos:
    """`<camera>.mp4`, each frame shown at the time at which it was taken."""

    def __init__(self, folder: Path, quality: int = 26) -> None:
        """`quality` is x264's constant rate factor."""
        self._folder, self._quality = folder, quality
        self._videos: dict[str, _Video] = {}

    def sighting(self, sighting: Sighting) -> None:
        camera = sighting.frame.camera
        if camera not in self._videos:
            size = (sighting.frame.image.shape[1] & ~1, sighting.frame.image.shape[0] & ~1)
            path = self._folder / f"{camera}.mp4"
            self._videos[camera] = _Video(path, size, self._quality, sighting.frame.time)
        self._videos[camera].write(annotate(sighting), sighting.frame.time)

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Shown by colour and number, from the next frame on."""

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """Nothing to show."""

    def close(self) -> None:
        for video in self._videos.values():
            video.close()


def annotate(sighting: Sighting) -> Image:
    """A copy of the picture with a box and a number on everybody."""
    image = sighting.frame.image.copy()
    for box, identity in zip(
        sighting.tracks.boxes.astype(int).tolist(), sighting.identities.tolist(), strict=True
    ):
        colour = colour_of(identity) if identity else _UNKNOWN
        cv2.rectangle(image, tuple(box[:2]), tuple(box[2:]), colour, 2)
        label = str(identity) if identity else "?"
        (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        top = max(box[1], height + 6)
        cv2.rectangle(image, (box[0], top - height - 6), (box[0] + width + 6, top), colour, -1)
        cv2.putText(
            image,
            label,
            (box[0] + 3, top - 4),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
    return image


def colour_of(identity: int) -> tuple[int, int, int]:
    """BGR: far from those of the numbers beside it, and the same wherever it is shown."""
    red, green, blue = colorsys.hsv_to_rgb(identity * _GOLDEN % 1, 0.75, 0.8)
    return int(blue * 255), int(green * 255), int(red * 255)


class _Video:
    def __init__(self, path: Path, size: tuple[int, int], quality: int, start: float) -> None:
        # In fragments: the file can be played at any time, closing takes no time, and no index grows.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container = av.open(str(path), "w", options=options)
        self._stream = self._container.add_stream("libx264", rate=Fraction(25))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(quality), "preset": "ultrafast", "g": str(_FRAGMENT)}
        self._stream.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._start, self._last, self._size = start, -1, size

    def write(self, image: Image, time: float) -> None:
        width, height = self._size
        if (image.shape[1] & ~1, image.shape[0] & ~1) != self._size:
            image = cv2.resize(image, self._size)  # the camera changed its resolution
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[:height, :width]), format="bgr24"
        )
        self._last = max(self._last + 1, round((time - self._start) * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
