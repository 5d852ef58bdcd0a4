"""Ways between cameras, learned from who left one and who came into another: neighbours, travel times, common ground.

    journeys = Journeys(cameras, ratio)
    journeys.update(looks, since)      # again and again while a site runs; earlier evidence fades
    journeys.ways(), journeys.company()

Nobody says who is who, so every departure is weighed against all arrivals within a window, by appearance alone; the
arrivals compete, and "nobody of these" competes with them. Of the gaps so weighed, the true ones follow a
log-normal law, the wrong ones follow the gaps of any departure with any arrival: a mixture of the two is fitted. What
is no better explained with the first than without is no way.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.looks import Looks
from pipeline.frames import FloatArray, IntArray

Floats = NDArray[np.float64]

WINDOW = 120.0
EDGES = np.geomspace(0.5, WINDOW, 49)
"""Seconds; gaps below are those of the first bin."""
LEAST_JOURNEYS, LEAST_GAIN = 4.0, 4.0
"""Journeys and nats that a way needs."""
LEAST_COMPANY = 20
"""People who had company in another camera, below which nothing is said about common ground."""
COMMON, NOTHING_COMMON = 0.12, 0.04
"""Shares above chance: between them nothing is said."""
_MIDDLES = np.log(np.sqrt(EDGES[1:] * EDGES[:-1]))
_NARROWEST = 0.12


@dataclass(frozen=True, slots=True)
class Way:
    """From one camera to another, both as indices."""

    origin: int
    target: int
    median: float
    spread: float
    journeys: float
    """Weight of the gaps that follow the law."""
    gain: float
    """Nats by which the gaps are better explained with the law than without."""
    gaps: Floats
    """(48,) weighed gaps by EDGES."""
    chance: Floats
    """(48,) how wrong gaps are distributed, summing to 1."""


@dataclass(frozen=True, slots=True)
class Company:
    """Two cameras that had people at once."""

    one: int
    other: int
    people: int
    """Tracklets of the one during which somebody was in the other."""
    share: float
    """Of these, how many seem to be in both…"""
    by_chance: float
    """…where people whom one camera sees at once, surely two, are held for one this often."""

    @property
    def overlapping(self) -> bool:
        return self.people >= LEAST_COMPANY and self.share - self.by_chance >= COMMON

    @property
    def apart(self) -> bool:
        return self.people >= LEAST_COMPANY and self.share - self.by_chance <= NOTHING_COMMON


class Journeys:
    """Bounded evidence of any number of tracklets: histograms by pair of cameras."""

    def __init__(
        self, cameras: int, ratio: Callable[[FloatArray, IntArray, IntArray], FloatArray]
    ) -> None:
        """`ratio` maps cosines (Q, R) of embeddings of some frames to nats, as `identify.Mapping` does."""
        self._ratio = ratio
        self._gaps = np.zeros((cameras, cameras, len(EDGES) - 1))
        self._chance = np.zeros_like(self._gaps)
        self._people = np.zeros((cameras, cameras))
        self._both = np.zeros((cameras, cameras))

    def update(self, looks: Looks, keep: float = 1.0) -> None:
        """Add tracklets that were not added before. `keep` is the share of earlier evidence that stays."""
        self._gaps *= keep
        self._chance *= keep
        self._people *= keep
        self._both *= keep
        if not len(looks):
            return
        nats = self._ratio(looks.embeddings @ looks.embeddings.T, looks.frames, looks.frames)
        gap = looks.first[None, :] - looks.last[:, None]
        shared = np.minimum(looks.last[:, None], looks.last[None, :])
        shared = shared - np.maximum(looks.first[:, None], looks.first[None, :])
        self._follow(looks, nats, gap, (gap > 0) & (gap < WINDOW))
        np.fill_diagonal(shared, 0.0)
        self._accompany(looks, nats, shared > 1.0)

    def ways(self) -> list[Way]:
        """Those that the evidence bears out."""
        count = len(self._gaps)
        found = [
            _way(a, b, self._gaps[a, b], self._chance[a, b])
            for a in range(count)
            for b in range(count)
            if a != b
        ]
        return [way for way in found if way is not None]

    def company(self) -> list[Company]:
        """For each pair of cameras in which people were at once."""
        people, both = self._people + self._people.T, self._both + self._both.T
        chance = float(np.trace(both) / max(np.trace(people), 1.0))
        return [
            Company(int(a), int(b), int(people[a, b]), float(both[a, b] / people[a, b]), chance)
            for a, b in zip(*np.triu_indices(len(people), 1), strict=True)
            if people[a, b] > 0
        ]

    def _follow(
        self, looks: Looks, nats: FloatArray, gap: Floats, possible: NDArray[np.bool_]
    ) -> None:
        weight = _competed(nats, possible)
        one, other = np.nonzero(possible)
        a, b = looks.camera[one], looks.camera[other]
        bins = np.clip(np.searchsorted(EDGES, gap[one, other]) - 1, 0, len(EDGES) - 2)
        np.add.at(self._gaps, (a, b, bins), weight[one, other])
        np.add.at(self._chance, (a, b, bins), 1.0)

    def _accompany(self, looks: Looks, nats: FloatArray, together: NDArray[np.bool_]) -> None:
        for camera in range(len(self._gaps)):
            some = together & (looks.camera == camera)[None, :]
            with_company = some.any(axis=1)
            both = _competed(nats, some).sum(axis=1)
            np.add.at(self._people[:, camera], looks.camera[with_company], 1.0)
            np.add.at(self._both[:, camera], looks.camera[with_company], both[with_company])


def _competed(nats: FloatArray, possible: NDArray[np.bool_]) -> Floats:
    """Chance (N, N) that the second is where the first went: at most one is, or nobody, as likely as anybody."""
    likely = np.where(possible, np.exp(np.clip(nats, -20, 20)), 0.0)
    nobody = np.maximum(possible.sum(axis=1), 1)
    chance: Floats = likely / (nobody + likely.sum(axis=1))[:, None]
    return chance


def _way(origin: int, target: int, gaps: Floats, chance: Floats) -> Way | None:
    """The mixture of a log-normal law with chance, by EM over bins of the logarithm; the best of several starts."""
    total = gaps.sum()
    if total < LEAST_JOURNEYS:
        return None
    smooth = np.convolve(chance, np.ones(5) / 5, mode="same") + 1e-3
    background = smooth / smooth.sum()
    alone = float((gaps * np.log(background)).sum())
    best: Way | None = None
    for start in np.log([3.0, 8.0, 15.0, 30.0, 60.0]):
        mean, spread, share = float(start), 0.4, 0.5
        for _ in range(60):
            law = _law(mean, spread)
            mixed = share * law + (1 - share) * background
            mine = gaps * share * law / mixed
            weight = mine.sum()
            if weight < 1e-6:
                break
            share = float(weight / total)
            mean = float((mine * _MIDDLES).sum() / weight)
            deviation = (mine * (_MIDDLES - mean) ** 2).sum()
            # A few gaps that happen to lie close are no narrow law: as if two more were 0.35 away.
            spread = max(float(np.sqrt((deviation + 2 * 0.35**2) / (weight + 2))), _NARROWEST)
        gain = float((gaps * np.log(share * _law(mean, spread) + (1 - share) * background)).sum())
        way = Way(
            origin,
            target,
            float(np.exp(mean)),
            spread,
            share * float(total),
            gain - alone,
            gaps,
            background,
        )
        if best is None or way.gain > best.gain:
            best = way
    fits = best is not None and best.journeys >= LEAST_JOURNEYS and best.gain >= LEAST_GAIN
    return best if fits else None


def _law(mean: float, spread: float) -> Floats:
    """A log-normal law over the bins, summing to 1."""
    values = np.exp(-0.5 * ((_MIDDLES - mean) / spread) ** 2) + 1e-12
    law: Floats = values / values.sum()
    return law
