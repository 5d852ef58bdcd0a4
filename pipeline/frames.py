"""The values that cross from one stage of the live loop to the next.

Each is frozen and carries arrays; a stage takes the one before it and returns the one after it.
`time` is always capture time: seconds since the epoch, from the stream's own clock, never a frame count.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.pixels import Image, Pixels, as_pixels

__all__ = [
    "NOBODY",
    "STEP",
    "Crop",
    "Detections",
    "EventKind",
    "FloatArray",
    "Frame",
    "IdentityEvent",
    "IntArray",
    "Path",
    "TrackletUpdate",
    "Tracks",
]

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as a camera took it. `index` counts from 0 and skips what was dropped."""

    camera: str
    index: int
    time: float
    shown: Image | Pixels

    @property
    def pixels(self) -> Pixels:
        """What it shows, converted only as far as somebody looks."""
        return as_pixels(self.shown)

    @property
    def image(self) -> Image:
        """All of it in BGR, converted anew unless it is an array; not to be written into."""
        return self.pixels.whole()


@dataclass(frozen=True, slots=True)
class Detections:
    """People found in one frame."""

    boxes: FloatArray
    """(N, 4) float32: left, top, right, bottom in pixels of the frame."""
    scores: FloatArray
    """(N,) float32 in 0…1."""
    colours: FloatArray | None = None
    """(N, K) float32 in 0…1: what each looks like at a glance, comparable between frames of one camera."""

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, some: "IntArray | NDArray[np.bool_]") -> "Detections":
        colours = None if self.colours is None else self.colours[some]
        return Detections(self.boxes[some], self.scores[some], colours)


NOBODY = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Tracks:
    """People followed within one camera, as of one frame."""

    ids: IntArray
    """(N,) int64: local to the camera and never reused there."""
    boxes: FloatArray
    """(N, 4) float32: left, top, right, bottom in pixels."""
    scores: FloatArray
    """(N,) float32: the score of the detection that supports the track."""
    ages: FloatArray
    """(N,) float32: seconds since the track began."""
    spare: Detections = NOBODY
    """What was found and is nobody followed, or nobody yet: who is known later may have been there before."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Crop:
    """One picture of one tracked person, chosen to be worth the network's time."""

    camera: str
    local_id: int
    pixels: Image
    quality: float
    """0…1, higher is better."""
    time: float


STEP = 0.4
"""Seconds of capture time over which places on the floor are averaged; steps begin at whole multiples of it,
the same for all cameras."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where on the floor somebody was: one row for each step with feet in sight, oldest first."""

    times: NDArray[np.float64]
    """(K,) seconds: the mean of the looks in a step."""
    places: FloatArray
    """(K, 2) float32 in the frame of the camera: metres on the site's floor, where it is calibrated so."""
    spread: FloatArray
    """(K, 3) float32: covariance of the place as xx, xy, yy, without what the calibration is off by."""
    statures: FloatArray
    """(K,) float32: metres that the person measures; 0 where that is not seen."""


@dataclass(frozen=True, slots=True)
class TrackletUpdate:
    """What is known of one tracklet's appearance after one more crop.

    The only value that may cross machines: plain, small and versioned.
    """

    camera: str
    local_id: int
    time: float
    embedding: FloatArray
    """(E,) float32 as the network gave it; whoever compares embeddings normalises them."""
    frames_seen: int
    confidence: float
    """0…1: how much of a judgement the embedding can carry."""
    since: float | None = None
    """When the tracklet began, where that was before its first embedding."""
    path: Path | None = None
    """Where the person was since the update before, where the camera knows its floor."""
    takes_back: bool = False
    """What was said of the tracklet after `time` was of somebody else; this is all that there is of it."""
    version: int = 4


class EventKind(StrEnum):
    """What became known about an identity."""

    FOUNDED = "founded"
    JOINED = "joined"
    CORRECTED = "corrected"
    LEFT = "left"
    FORGOTTEN = "forgotten"
    """The identity was erased by command: whoever noted it is to erase it too. Names no camera and no tracklet."""


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """A statement that the system makes to the outside: this tracklet is that identity."""

    kind: EventKind
    identity: int
    camera: str
    local_id: int
    time: float
    score: float
    """Log-likelihood ratio in favour of the statement."""
    previous: int | None = None
    """The identity that a correction takes back."""
