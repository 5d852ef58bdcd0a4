"""What places on the floor say about two tracklets being one person.

At once, one person is in one place: seen by two cameras, the two places differ by what the boxes and the calibration
are off by. One after the other, nobody is further away than he can have walked.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline import stature
from pipeline.compiled import compiled
from pipeline.errors import IdentifyError
from pipeline.frames import STEP, FloatArray, IntArray
from pipeline.identify.paths import Paths

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Cameras: TypeAlias = NDArray[np.int32]
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
        self._how = _How(*(float(getattr(settings, name)) for name in _How._fields))
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
        off, metric = self._off, self._metric
        ruler = np.square(stature.RULER * np.nan_to_num(self._error))
        ratio = np.zeros((len(camera), len(others[0])), np.float32)
        _build((camera, tall, measured), others, off, metric, ruler, ratio)
        return ratio

    def judge(
        self,
        paths: Paths,
        ours: tuple[IntArray, Cameras],
        theirs: tuple[IntArray, Cameras],
        gap: FloatArray,
        after: Flags,
        place: FloatArray,
        forbidden: Flags,
        window: float,
        focus: float,
    ) -> FloatArray:
        """What the ways of Q rows of some cameras say of being those of R others; (Q, R) for all pairs.

        Of who is there at once (`gap` infinite), how near they are, which `place` becomes and the answer is, NaN where
        they have no common step; and whether that is `forbidden`. Of others within `window` seconds, whether one goes
        on where the other ended, `after` it or before, which `place` becomes more or less by.
        """
        floor = np.full(place.shape, np.nan, np.float32)
        sides = _Side(*ours), _Side(*theirs)
        ways = _Ways(paths.times, paths.places, paths.entry, paths.last)
        cameras = _Grounds(self._frame, self._error, self._area, self._metric)
        _judge(*sides, ways, cameras, self._how, gap, after, place, forbidden, floor, window, focus)
        return floor


@compiled
def _build(
    some: tuple[Cameras, FloatArray, IntArray],
    others: tuple[Cameras, FloatArray, IntArray],
    off: FloatArray,
    metric: Flags,
    ruler: Floats,
    ratio: FloatArray,
) -> None:
    camera, tall, measured = some
    their_camera, their_tall, their_measured = others
    for i in range(len(camera)):
        one = camera[i]
        if not (metric[one] and measured[i]):  # or by a floor that there was once
            continue
        for j in range(len(their_camera)):
            other = their_camera[j]
            if metric[other] and their_measured[j]:
                away = (tall[i] - off[one]) - (their_tall[j] - off[other])
                few = 1.0 / measured[i] + 1.0 / their_measured[j]
                ratio[i, j] = stature.likeness(away, few, ruler[one] + ruler[other])


class _Side(NamedTuple):
    """Rows, and the camera of each."""

    row: IntArray
    camera: Cameras


class _Ways(NamedTuple):
    """As of `Paths`."""

    times: Floats
    places: FloatArray
    entry: Floats
    last: IntArray


class _Grounds(NamedTuple):
    """Of each, as in `Ground`; the frame is a number, -1 where there is none."""

    frame: IntArray
    error: Floats
    area: Floats
    metric: Flags


class _How(NamedTuple):
    """As in `FloorSettings`."""

    stray: float
    company: float
    company_distance: float
    lasting: float
    pace: float
    swiftest: float
    miracle: float
    lost: float
    handover: float
    impossible: float


@compiled
def _judge(
    some: _Side,
    others: _Side,
    ways: _Ways,
    cameras: _Grounds,
    how: _How,
    gap: FloatArray,
    after: Flags,
    place: FloatArray,
    forbidden: Flags,
    floor: FloatArray,
    window: float,
    focus: float,
) -> None:
    for i in range(len(some.row)):
        one, ours = some.row[i], some.camera[i]
        if cameras.frame[ours] < 0 or np.isnan(ways.entry[one, 0]):
            continue
        for j in range(len(others.row)):
            other, theirs = others.row[j], others.camera[j]
            if cameras.frame[ours] != cameras.frame[theirs] or np.isnan(ways.entry[other, 0]):
                continue
            if np.isinf(gap[i, j]):
                if not forbidden[i, j]:
                    ratio = _together(ways, one, other, cameras, ours, theirs, how)
                    if not np.isnan(ratio):
                        place[i, j] = floor[i, j] = ratio + focus
                        forbidden[i, j] = ratio < how.impossible
            elif gap[i, j] < window and cameras.metric[ours] and cameras.metric[theirs]:
                before, later = (other, one) if after[i, j] else (one, other)
                place[i, j] += _handover(ways, before, later, cameras, ours, theirs, how)


@compiled
def _together(
    ways: _Ways, one: int, other: int, cameras: _Grounds, ours: int, theirs: int, how: _How
) -> float:
    """Log-likelihood ratio of two rows that are there at once; NaN without a common step.

    The mean over common steps, times the number of independent ones that they are worth.
    """
    slack = cameras.error[ours] ** 2 + cameras.error[theirs] ** 2
    area = min(cameras.area[ours], cameras.area[theirs])
    # In pixels, as far as is known, people in company are half the picture's error away.
    away = how.company_distance if cameras.metric[ours] else 3.0 * cameras.error[ours]
    count, total = 0, 0.0
    for k in range(ways.times.shape[1]):
        time, another = ways.times[one, k], ways.times[other, k]
        if np.floor(time / STEP) != np.floor(another / STEP):  # NaN equals nothing
            continue
        here, there = ways.places[one, k], ways.places[other, k]
        x, y = float(here[0] - there[0]), float(here[1] - there[1])
        xx, xy, yy = here[2] + there[2], here[3] + there[3], here[4] + there[4]
        loose = slack + (how.pace * (time - another)) ** 2
        same = _density(x, y, xx + loose, float(xy), yy + loose) * area
        loose += away**2
        beside = _density(x, y, xx + loose, float(xy), yy + loose) * area
        likely = (1.0 - how.stray) * same + how.stray
        total += np.log(likely / ((1.0 - how.company) + how.company * beside))
        count += 1
    if not count:
        return np.nan
    return float(total / (1.0 + (count - 1) * how.lasting))


@compiled
def _handover(
    ways: _Ways, before: int, after: int, cameras: _Grounds, ours: int, theirs: int, how: _How
) -> float:
    """Log-likelihood ratio that one row goes on where another ended, on a floor in metres."""
    left, came = ways.last[before], ways.entry[after]
    start, seconds = ways.places[before, left], came[0] - ways.times[before, left]
    if np.isnan(seconds):  # all that was told of it was taken back
        return 0.0
    seconds = max(seconds, 0.0)
    x, y = came[1] - start[0], came[2] - start[1]
    slack = cameras.error[ours] ** 2 + cameras.error[theirs] ** 2
    xx, xy, yy = start[2] + came[3], start[3] + came[4], start[4] + came[5]
    blur = (xx + yy) / 2.0
    if np.hypot(x, y) > how.swiftest * seconds + 3.0 * np.sqrt(slack + blur) + 0.5:
        return how.miracle
    walked = slack + (how.pace * seconds) ** 2
    reach = 2.0 * np.pi * (walked + blur)
    area = max(cameras.area[ours], cameras.area[theirs], reach)
    near = _density(x, y, xx + walked, xy, yy + walked) * area
    return float(min(np.log((1.0 - how.lost) * near + how.lost), how.handover))


@compiled
def _density(x: float, y: float, xx: float, xy: float, yy: float) -> float:
    """Of a normal distribution with that covariance at a difference (x, y)."""
    determinant = max(xx * yy - xy**2, 1e-12)
    distance = (yy * x**2 - 2.0 * xy * x * y + xx * y**2) / determinant
    return float(np.exp(-0.5 * distance) / (2.0 * np.pi * np.sqrt(determinant)))
