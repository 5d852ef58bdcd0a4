"""What places on the floor say about two tracklets being one person.

At once, one person is in one place: seen by two cameras, the two places differ by what the boxes and the calibration
are off by. One after the other, nobody is further away than he can have walked.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline import stature
from pipeline.errors import IdentifyError
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.paths import Paths, steps

Floats = NDArray[np.float64]
Cameras = NDArray[np.int32]
"""By index."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of one camera's floor."""

    frame: str
    """Cameras of one frame give their places in the same coordinates."""
    error: float
    """Deviation of places that no averaging improves, in units of the frame."""
    area: float
    """How much floor the camera sees, in units of the frame squared."""
    metric: bool = True
    """The unit is the metre. Otherwise nothing is known of speeds."""

    def __post_init__(self) -> None:
        if not (0 < self.error < math.inf and 0 < self.area < math.inf):
            raise IdentifyError(f"a camera's floor needs an error and an area above 0, not {self}")


@dataclass(frozen=True, slots=True)
class FloorSettings:
    """How places are judged. Metres and seconds."""

    grounds: Mapping[str, Ground] = field(default_factory=dict)
    """By camera."""
    stray: float = 0.05
    """Share of places that are off for some other reason: hidden feet, a box around two."""
    company: float = 0.15
    """Share of people who walk in somebody's company…"""
    company_distance: float = 0.9
    """…and the deviation of how far beside."""
    lasting: float = 0.15
    """How much steps of one pair say the same: ever so many say as much as 1 / lasting independent ones."""
    pace: float = 0.9
    """Deviation of a walker's way after a second, along either axis: 1.3 m/s in any direction."""
    swiftest: float = 3.0
    """Metres a second that nobody exceeds…"""
    miracle: float = -8.0
    """…and the nats for doing so all the same."""
    lost: float = 0.02
    """Share of tracklets that go on where nobody would expect."""
    handover: float = 3.0
    """Nats that going on nearby can add at most: others come and go by the same door."""
    impossible: float = -7.0
    """Nats of evidence at once from which on two tracklets cannot be one person."""


class Floors:
    """The floors of all cameras, laid out by camera index."""

    def __init__(self, settings: FloorSettings) -> None:
        self.settings = settings
        self.know(())

    @property
    def rulers(self) -> dict[str, int]:
        """A number for each camera that measures people: another one whenever its floor is measured anew."""
        return {
            name: zlib.crc32(f"{ground.error!r} {ground.area!r}".encode())
            for name, ground in self.settings.grounds.items()
            if ground.metric
        }

    @property
    def most(self) -> float:
        """Nats that places can add at most."""
        settings = self.settings
        grounds = settings.grounds.values()
        area = max(ground.area / (4 * math.pi * ground.error**2) for ground in grounds)
        places = max(math.log1p(area) / settings.lasting, settings.handover)
        # Several rows of one identity count for up to twice a pair.
        return places + 2 * stature.most(min(ground.error for ground in grounds))

    def know(self, cameras: Sequence[str]) -> None:
        grounds = self.settings.grounds
        known = [grounds.get(name) for name in cameras]
        names = sorted({ground.frame for ground in grounds.values()})
        self._frame = np.array([names.index(g.frame) if g else -1 for g in known], np.int64)
        self._error = np.array([g.error if g else np.nan for g in known])
        self._area = np.array([g.area if g else np.nan for g in known])
        self._metric = np.array([bool(g and g.metric) for g in known], np.bool_)
        self._off = np.zeros(len(known), np.float32)

    def measure(self, camera: Cameras, who: IntArray, tall: FloatArray, measured: IntArray) -> None:
        """Let those who were seen tell what each camera's ruler is off by."""
        known = (who > 0) & (measured >= stature.LONG) & self._metric[camera]
        self._off = stature.off(camera[known], who[known], tall[known], len(self._off))

    def build(
        self,
        camera: Cameras,
        tall: FloatArray,
        measured: IntArray,
        others: tuple[Cameras, FloatArray, IntArray],
    ) -> FloatArray:
        """(Q, R) log-likelihood ratios by how tall people are; 0 where one was never measured."""
        their_camera, their_tall, their_measured = others
        measured = np.where(self._metric[camera], measured, 0)  # by a floor that there was once
        their_measured = np.where(self._metric[their_camera], their_measured, 0)
        once = np.float32(1) / np.maximum(measured, 1).astype(np.float32)
        their_once = np.float32(1) / np.maximum(their_measured, 1).astype(np.float32)
        ruler = np.square(stature.RULER * np.nan_to_num(self._error)).astype(np.float32)
        ratio = stature.likeness(
            (tall - self._off[camera])[:, None] - (their_tall - self._off[their_camera])[None, :],
            once[:, None] + their_once[None, :],
            ruler[camera][:, None] + ruler[their_camera][None, :],
        )
        ratio *= (measured > 0)[:, None] & (their_measured > 0)[None, :]
        return ratio

    def comparable(self, ours: Cameras, theirs: Cameras) -> NDArray[np.bool_]:
        """Whether cameras (Q, 1) and (1, R) give places in one frame."""
        return np.asarray((self._frame[ours] == self._frame[theirs]) & (self._frame[ours] >= 0))

    def together(
        self, paths: Paths, one: IntArray, other: IntArray, ours: Cameras, theirs: Cameras
    ) -> Floats:
        """(P,) log-likelihood ratios of pairs of rows that are there at once; NaN without a common step.

        The mean over common steps, times the number of independent ones that they are worth.
        """
        settings = self.settings
        times, others = paths.times[one], paths.times[other]
        pair, step = np.nonzero(steps(times) == steps(others))  # NaN equals nothing
        here, there = paths.places[one[pair], step], paths.places[other[pair], step]
        drift = settings.pace * (times[pair, step] - others[pair, step])
        slack = self._slack(ours, theirs)[pair] + drift**2
        area = np.minimum(self._area[ours], self._area[theirs])[pair]
        away = (here - there)[:, :2].astype(np.float64)
        spread = (here + there)[:, 2:].astype(np.float64)
        same = density(away, spread, slack)
        beside = density(away, spread, slack + self._company(ours)[pair])
        ratio = np.log(
            ((1 - settings.stray) * same * area + settings.stray)
            / ((1 - settings.company) + settings.company * beside * area)
        )
        count = np.bincount(pair, minlength=len(one))
        total = np.bincount(pair, ratio, minlength=len(one))
        worth = count / (1 + (count - 1) * settings.lasting)
        with np.errstate(invalid="ignore"):
            return np.asarray(worth * total / count)

    def handover(
        self, paths: Paths, before: IntArray, after: IntArray, ours: Cameras, theirs: Cameras
    ) -> Floats:
        """(P,) log-likelihood ratios that `after` goes on where `before` ended; NaN where nothing is known."""
        settings = self.settings
        left, came = paths.exits(before), paths.entry[after]
        away = came[:, 1:3] - left[:, 1:3]
        seconds = np.maximum(came[:, 0] - left[:, 0], 0)
        slack = self._slack(ours, theirs)
        spread = left[:, 3:] + came[:, 3:]
        area = np.maximum(self._area[ours], self._area[theirs])
        walked = slack + (settings.pace * seconds) ** 2
        reach = 2 * math.pi * (walked + (spread[:, 0] + spread[:, 2]) / 2)
        near = density(away, spread, walked) * np.maximum(area, reach)
        ratio = np.log((1 - settings.lost) * near + settings.lost)
        blur = np.sqrt(slack + (spread[:, 0] + spread[:, 2]) / 2)
        miracle = np.hypot(*away.T) > settings.swiftest * seconds + 3 * blur + 0.5
        ratio = np.where(miracle, settings.miracle, np.minimum(ratio, settings.handover))
        return np.where(self._metric[ours] & self._metric[theirs], ratio, np.nan)

    def _slack(self, ours: Cameras, theirs: Cameras) -> Floats:
        """Variance along either axis that two cameras' calibrations leave."""
        return np.asarray(self._error[ours] ** 2 + self._error[theirs] ** 2)

    def _company(self, ours: Cameras) -> Floats:
        """Variance of the distance of people in company; in pixels, as far as is known, half the picture's error."""
        distance = self.settings.company_distance
        return np.where(self._metric[ours], distance, 3 * self._error[ours]) ** 2


def density(away: Floats, spread: Floats, slack: Floats) -> Floats:
    """Of a normal distribution at differences (N, 2…): covariances xx, xy, yy (N, 3) plus `slack` (N,) both ways."""
    xx, xy, yy = spread[:, 0] + slack, spread[:, 1], spread[:, 2] + slack
    determinant = np.maximum(xx * yy - xy**2, 1e-12)
    x, y = away[:, 0], away[:, 1]
    distance = (yy * x**2 - 2 * xy * x * y + xx * y**2) / determinant
    return np.asarray(np.exp(-0.5 * distance) / (2 * math.pi * np.sqrt(determinant)), np.float64)
