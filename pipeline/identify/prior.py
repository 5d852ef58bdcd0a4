"""What time and place say about two tracklets being one person, before anybody looks at them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.errors import IdentifyError
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.floor import Cameras, Flags, Floats, Floors, FloorSettings, Ground
from pipeline.identify.paths import Paths

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Travel:
    """Seconds from leaving one camera's view until entering another's: log-normal."""

    median: float
    spread: float
    """Standard deviation of the logarithm: 0.5 is a corridor, 2 is anybody's guess."""

    def __post_init__(self) -> None:
        if not (0 < self.median < math.inf and 0 < self.spread < math.inf):
            raise IdentifyError(
                f"travel times need a median and a spread above 0 seconds, not {self}"
            )


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of the cameras. Empty, it is a site of which nothing is known."""

    overlapping: frozenset[Pair] = frozenset()
    """Cameras that see common ground, in either order."""
    apart: frozenset[Pair] = frozenset()
    """Cameras that see none, in either order. A pair in neither set may or may not."""
    travel: Mapping[Pair, Travel] = field(default_factory=dict)
    """From camera, to camera."""
    within: Travel = Travel(5.0, 1.8)
    """How long people vanish within one camera: hidden or lost for seconds, or gone and back."""
    between: Travel = Travel(60.0, 2.0)
    """Travel between two cameras of which nothing is known: broad."""
    window: float = 300.0
    """Seconds between two appearances of one person anywhere on the site, by and large: the chance
    that a gap is held against."""
    doubt: float = 0.2
    """Share of returns that follow no pattern at all, so that no absence is ruled out."""
    limit: float = 2.0
    """Nats that gaps can add at most; they can take away −log(doubt). Little, while they are guessed."""
    common: float = 3.0
    """Nats for being in two cameras at once where those overlap."""
    tolerance: float = 0.5
    """Seconds that clocks and trackers may be wrong by."""

    def __post_init__(self) -> None:
        both = {frozenset(p) for p in self.overlapping} & {frozenset(p) for p in self.apart}
        if both:
            names = " and ".join(sorted(min(both, key=sorted)))
            raise IdentifyError(f"cameras {names} are said both to overlap and to be apart")
        if not (self.window > 0 and 0 < self.doubt < 1 and self.limit > 0 and self.tolerance >= 0):
            raise IdentifyError("a site needs window > 0, 0 < doubt < 1, limit > 0, tolerance ≥ 0")


@dataclass(frozen=True, slots=True)
class Presence:
    """Where and when N tracklets were: arrays of one length."""

    camera: NDArray[np.int32]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    stature: FloatArray
    """Metres…"""
    measured: IntArray
    """…and how often they were measured; 0 where never."""
    rows: IntArray | None = None
    """Where in `paths` they are; None where nobody has a path."""
    paths: Paths | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Time and place of Q tracklets against R others, each array (Q, R)."""

    gap: FloatArray
    """Seconds between the end of one and the start of the other; infinite if both were there at once."""
    place: FloatArray
    """Log-likelihood ratio that it is one person, against chance."""
    forbidden: NDArray[np.bool_]
    """One person cannot be both."""
    floor: FloatArray | None = None
    """The part of `place` that two simultaneous ways over the floor have; NaN where there are none. None where
    nobody's way is known."""
    build: FloatArray | None = None
    """Log-likelihood ratio by how tall they are. None where nobody was measured."""


class Prior:
    """A site, laid out as tables by camera index."""

    def __init__(self, site: Site, floor: FloorSettings | None = None) -> None:
        self.site = site
        self._floors = Floors(floor) if floor and floor.grounds else None
        self._cameras = 0
        self.know(())

    @property
    def most(self) -> float:
        """Nats that time and place can add at most."""
        known = max(self.site.limit, self.site.common)
        return known if self._floors is None else max(known, self._floors.most)

    def know(self, cameras: Sequence[str]) -> None:
        """Learn the names behind the camera indices. Cheap unless some are new."""
        if len(cameras) == self._cameras > 0:
            return
        site, count = self.site, len(cameras)
        self._cameras = count
        if self._floors:
            self._floors.know(cameras)
        self._median = np.full((count, count), site.between.median, np.float32)
        self._spread = np.full((count, count), site.between.spread, np.float32)
        self._together = np.zeros((count, count), np.float32)
        index = {name: i for i, name in enumerate(cameras)}
        for (a, b), travel in site.travel.items():
            if a in index and b in index:
                self._median[index[a], index[b]] = travel.median
                self._spread[index[a], index[b]] = travel.spread
        for i in range(count):  # cameras, not people
            name = cameras[i]
            travel = site.travel.get((name, name), site.within)
            self._median[i, i], self._spread[i, i] = travel.median, travel.spread
        for pairs, value in ((site.overlapping, site.common), (site.apart, -np.inf)):
            for a, b in pairs:
                if a in index and b in index:
                    self._together[index[a], index[b]] = value
                    self._together[index[b], index[a]] = value
        np.fill_diagonal(self._together, -np.inf)  # nobody is in one camera twice at once

    @property
    def rulers(self) -> dict[str, int]:
        """As of `Floors`."""
        return self._floors.rulers if self._floors else {}

    def measure(self, table: NDArray[np.void]) -> None:
        """Where floors are rulers, hold them against each other by the tracklets (R,) that they measured."""
        if self._floors:
            columns = ("camera", "identity", "stature", "measured")
            self._floors.measure(*(table[name] for name in columns))

    def weigh(self, some: Presence, others: Presence, focus: float = 1.0) -> Circumstances:
        """Compare Q tracklets with R others.

        `focus` is how many people are known for each that is about. Who returns in a usual time is one
        of those about; only the doubtful rest is spread over all. So what speaks for a recent person
        does not fade as the gallery fills up with people of yesterday.
        """
        site, shape = self.site, (len(some.first), len(others.first))
        gap, place = np.empty(shape, np.float32), np.empty(shape, np.float32)
        forbidden, after = np.empty(shape, np.bool_), np.empty(shape, np.bool_)
        fold = math.log(focus)
        odds = float(site.doubt), float(site.window * focus), site.limit + fold, fold
        _weigh(
            (some.camera, some.first, some.last),
            (others.camera, others.first, others.last),
            (self._median, self._spread, self._together),
            odds,
            float(site.tolerance),
            (gap, place, forbidden, after),
        )
        floor = None
        if self._floors and some.rows is not None and others.rows is not None and some.paths:
            floor = self._floors.judge(
                some.paths,
                (some.rows, some.camera),
                (others.rows, others.camera),
                gap,
                after,
                place,
                forbidden,
                float(site.window),
                fold,
            )
        return Circumstances(gap, place, forbidden, floor, self._build(some, others))

    def _build(self, some: Presence, others: Presence) -> FloatArray | None:
        if not self._floors or not (some.measured.any() and others.measured.any()):
            return None
        theirs = others.camera, others.stature, others.measured
        return self._floors.build(some.camera, some.stature, some.measured, theirs)


def warm_up(*, floors: bool) -> None:
    """Compile, or load what was compiled before: once with `floors`, or only what is needed where there are none."""
    ground = {"": Ground("", 1.0, 1.0)} if floors else {}
    prior, paths = Prior(Site(), FloorSettings(ground)), Paths()
    paths.grow(1)
    prior.know([""])
    somebody = Presence(
        np.zeros(1, np.int32),
        np.zeros(1),
        np.ones(1),
        np.ones(1, np.float32),
        np.ones(1, np.int64),
        np.zeros(1, np.int64),
        paths,
    )
    prior.weigh(somebody, somebody)


@compiled
def _weigh(
    some: tuple[Cameras, Floats, Floats],
    others: tuple[Cameras, Floats, Floats],
    tables: tuple[FloatArray, FloatArray, FloatArray],
    odds: tuple[float, float, float, float],
    tolerance: float,
    found: tuple[FloatArray, FloatArray, Flags, Flags],
) -> None:
    """As `Prior.weigh` says, written into arrays (Q, R): gap, place, forbidden, and who came after the other."""
    camera, first, last = some
    their_camera, their_first, their_last = others
    median, spread, together = tables
    doubt, window, limit, focus = odds
    gap, place, forbidden, after = found
    for i in range(len(camera)):
        for j in range(len(their_camera)):
            since, until = first[i] - their_last[j], their_first[j] - last[i]
            one, other = camera[i], their_camera[j]
            after[i, j] = since >= until
            if since < until:
                since, one, other = until, other, one
            if since < -tolerance:
                gap[i, j], place[i, j] = np.inf, together[other, one] + focus
                forbidden[i, j] = np.isinf(together[other, one])
                continue
            forbidden[i, j], gap[i, j] = False, max(since, 0.0)
            seconds = max(since, 0.2)  # below that, clocks decide and not people
            wide = spread[other, one]
            z = np.log(seconds / median[other, one]) / wide
            density = np.exp(-0.5 * z * z) / (seconds * wide * np.sqrt(2.0 * np.pi))
            place[i, j] = min(np.log((1.0 - doubt) * density * window + doubt), limit)
