"""How likely a likeness is for one person and for two: the two distributions behind a match, with or without labels.

Without labels, three facts are used, all on Fisher's z of the cosine:

- Who is in view at one time in two places is surely two people (`strangers.surely`). They give the shape of
  "different", its rare high end above all, which decides about false matches.
- Who leaves one camera and soon comes into another is, with some unknown chance q, the best of m candidates there.
  So the best likeness is distributed as the greatest of m different ones, or as the greatest of m−1 of them and one
  of the same person. With the former known, the chance q and a normal distribution of "same" are fitted to all the
  best likenesses. Parts of one tracklet are not used for this: they share the view, and are far more alike.
- The chance of what never occurred among n pairs is not smaller than about 1/n, so no likeness is worth more than
  log n nats.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize
from scipy.special import expit, log_ndtr

from calibration.errors import RefusedError, TooLittleError
from calibration.looks import Looks, cosines, fisher
from calibration.strangers import LEAST, surely
from pipeline.frames import IntArray

Floats = NDArray[np.float64]

GRID = np.linspace(-2.0, 4.2, 1241)
"""Fisher's z at which densities are kept."""
STEP = float(GRID[1] - GRID[0])
LEAST_HANDOVERS, LEAST_SAME = 60, 20
WINDOW = 60.0
"""Seconds within which somebody who left is looked for in another camera."""
WIDER, SURE = 1.8, 0.06
"""How much wider "same" spreads than "different" (1.5 to 2.2 on a rendered mall where labels told, by how many frames
the tracklets had), and the standard deviation of its logarithm."""
STRANGE = 0.005
"""Share of one person's pairs that look like two people: hidden behind somebody, or two people in one tracklet."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Densities over GRID, each summing to 1 over it."""

    same: Floats
    different: Floats
    pairs: int
    """Pairs of surely different people behind it."""
    handovers: int
    """People looked for in another camera, or pairs of one person where labels told."""
    share: float
    """Of those looked for, how many were there; 1 where labels told."""

    def ratio(self) -> Floats:
        """Nats in favour of one person at each point of GRID: never falling, and bounded by the data."""
        same = (1 - STRANGE) * self.same + STRANGE * self.different
        different = (self.pairs * self.different + self.same) / (self.pairs + 1)
        raw = np.log((same + 1e-12) / (different + 1e-12))
        weight = same + different + 1e-9
        return _rising(raw, weight)

    def hits(self, z: float) -> float:
        """Share of one person's pairs that are at least so alike."""
        return float(self.same[z <= GRID].sum())


def learn(looks: Looks) -> Likeness:
    """Without labels, from who was seen when."""
    apart = surely(looks)
    different = density(apart.alike(looks))
    best, count = best_matches(looks)
    if len(best) < LEAST_HANDOVERS:
        raise TooLittleError(
            "people who left one camera while others came into another",
            len(best),
            LEAST_HANDOVERS,
            "record for longer",
        )
    share, mean, spread = fit_best(best, count, different)
    same = normal(mean, spread)
    if mean - float((GRID * different).sum()) < 0.5 * spread:
        raise RefusedError(
            f"people are no more alike than strangers to this network here (z {mean:.2f} ± {spread:.2f}): "
            "no mapping was written; use another network"
        )
    return Likeness(same, different, len(apart), len(best), share)


def learn_labelled(looks: Looks, who: IntArray) -> Likeness:
    """From labels: `who` (N,) each tracklet is, -1 where nobody knows."""
    one, other = np.triu_indices(len(looks), 1)
    apart = (looks.camera[one] != looks.camera[other]) & (who[one] >= 0) & (who[other] >= 0)
    one, other = one[apart], other[apart]
    z, same = fisher(cosines(looks.embeddings, one, other)), who[one] == who[other]
    for what, there, needed in (
        ("pairs of one person in two cameras", int(same.sum()), LEAST_SAME),
        ("pairs of two people in two cameras", int((~same).sum()), LEAST),
    ):
        if there < needed:
            raise TooLittleError(what, there, needed, "label more people")
    return Likeness(density(z[same]), density(z[~same]), int((~same).sum()), int(same.sum()), 1.0)


def best_matches(looks: Looks, window: float = WINDOW) -> tuple[Floats, IntArray]:
    """For all who left one camera and each camera that others came into soon after: Fisher's z of the best of
    those, and how many they were.
    """
    best, count = [], []
    similar = looks.embeddings @ looks.embeddings.T
    gap = looks.first[None, :] - looks.last[:, None]
    possible = (gap > -2.0) & (gap < window) & (looks.camera[None, :] != looks.camera[:, None])
    for camera in np.unique(looks.camera):
        chosen = possible & (looks.camera == camera)[None, :]
        some = chosen.any(axis=1)
        best.append(np.where(chosen, similar, -1.0).max(axis=1)[some])
        count.append(chosen.sum(axis=1)[some])
    return fisher(np.concatenate(best)), np.concatenate(count)


def fit_best(best: Floats, count: IntArray, different: Floats) -> tuple[float, float, float]:
    """The share q of those who were among their candidates, and mean and spread of "same", by maximum likelihood.

    Of best likenesses below the middle of what strangers would give, only that they are there is used: they are
    strangers mostly, and a misfit among so many would drown the few that matter. A strong prior keeps the spread near
    what labels told of a rendered mall: who looks less alike hides among strangers' best, and a free fit misses him.
    """
    below = np.log(np.clip(np.cumsum(different) - different / 2, 1e-9, 1.0))
    middle = np.interp(np.log(0.5) / count, below, GRID)
    low = best < middle
    z = np.where(low, middle, best)
    F = np.interp(z, GRID, below)
    f = np.log(np.interp(z, GRID, different) / STEP + 1e-9)
    none = np.where(low, np.log(0.5), np.log(count) + (count - 1) * F + f)
    mean = float((GRID * different).sum())
    width = float(np.sqrt((GRID**2 * different).sum() - mean**2))

    def cost(x: Floats) -> float:
        q, centre, spread = expit(x[0]), x[1], np.exp(x[2])
        u = (z - centre) / spread
        he_is_best = -0.5 * u * u - np.log(spread * np.sqrt(2 * np.pi)) + (count - 1) * F
        another_is = log_ndtr(u) + np.log(np.maximum(count - 1, 1e-9)) + (count - 2) * F + f
        found = np.where(low, log_ndtr(u) + (count - 1) * F, np.logaddexp(he_is_best, another_is))
        total = np.logaddexp(np.log1p(-q) + none, np.log(q) + found).sum()
        prior = 0.5 * ((x[2] - np.log(WIDER * width)) / SURE) ** 2 + 0.02 * x[0] ** 2
        return float(prior - total)

    starts = [np.array([-1.0, mean + k * width, np.log(width)]) for k in (2.0, 4.0, 6.0)]
    fits = [minimize(cost, start, method="Nelder-Mead") for start in starts]
    q, centre, spread = min(fits, key=lambda fit: fit.fun).x
    return float(expit(q)), float(centre), float(np.exp(spread))


def density(z: Floats) -> Floats:
    """Smoothed over GRID, summing to 1."""
    counts, _ = np.histogram(z, np.append(GRID - STEP / 2, GRID[-1] + STEP / 2))
    low, high = np.quantile(z, [0.25, 0.75])
    width = max(0.9 * min(z.std(), (high - low) / 1.34) * len(z) ** -0.2, STEP)
    smooth = gaussian_filter1d(counts.astype(float), width / STEP, mode="constant", truncate=6)
    summed: Floats = smooth / smooth.sum()
    return summed


def normal(mean: float, spread: float) -> Floats:
    """Over GRID, summing to 1."""
    values = np.exp(-0.5 * ((GRID - mean) / spread) ** 2)
    summed: Floats = values / values.sum()
    return summed


def _rising(values: Floats, weights: Floats) -> Floats:
    """The nearest values that never fall (pool adjacent violators)."""
    means: list[float] = []
    sums: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        sums.append(weight)
        sizes.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            total = sums[-2] + sums[-1]
            means[-2] = (means[-2] * sums[-2] + means[-1] * sums[-1]) / total
            sums[-2], sizes[-2] = total, sizes[-2] + sizes[-1]
            del means[-1], sums[-1], sizes[-1]
    return np.repeat(means, sizes)
