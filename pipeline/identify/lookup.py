"""What people ask of a gallery: who is known, and who looks like this."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import IdentifyError
from pipeline.frames import FloatArray
from pipeline.identify.gallery import Gallery
from pipeline.identify.matcher import resemblance
from pipeline.identify.similarity import Mapping

_MEASURED = 4
"""Steps from which on a tracklet's stature is told: a glance may be of half a person."""


@dataclass(frozen=True, slots=True)
class Match:
    """An identity that resembles an embedding."""

    identity: int
    score: float
    """Log-likelihood ratio by appearance."""
    similarity: float
    """The cosine behind it."""


@dataclass(frozen=True, slots=True)
class Person:
    """One identity, as the gallery has it."""

    identity: int
    first_seen: float
    last_seen: float
    cameras: tuple[str, ...]
    tracklets: int
    """Tracklets kept of it, which is at most the settings' `rows_per_identity` once they ended."""
    live: bool
    last_camera: str
    stature: float | None = None
    """Metres that the person measures, to the centimetre; None where no camera with a floor in metres said."""


def find(gallery: Gallery, embedding: FloatArray, k: int, mapping: Mapping) -> list[Match]:
    """The `k` identities that resemble one picture's embedding (E,) most, best first."""
    look: FloatArray = np.array(embedding, np.float32).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.float32(np.linalg.norm(look))
    if len(look) != gallery.size or not math.isfinite(norm) or norm == 0:
        raise IdentifyError(
            f"to be found, an embedding must be {gallery.size} finite values, not all zero"
        )
    groups = gallery.groups
    if not len(groups.numbers):
        return []
    look /= norm
    cosines: FloatArray = look[None] @ gallery.looks.T
    similarity = groups.maxima(cosines)[0]
    one_frame = np.ones(1, np.int64)
    score = resemblance(groups, mapping(cosines, one_frame, gallery.table["frames"]))[0]
    best = np.lexsort((groups.numbers, -similarity, -score))[:k]
    return [Match(int(groups.numbers[i]), float(score[i]), float(similarity[i])) for i in best]


def people(gallery: Gallery) -> list[Person]:
    """Everybody known, in the order of their numbers."""
    groups, answer = gallery.groups, []
    for number, order in zip(
        groups.numbers, np.split(groups.order, groups.starts[1:]), strict=False
    ):
        some = gallery.table[order]
        answer.append(
            Person(
                identity=int(number),
                first_seen=float(some["since"].min()),
                last_seen=float(some["last"].max()),
                cameras=tuple(sorted(gallery.cameras[i] for i in np.unique(some["camera"]))),
                tracklets=len(some),
                live=bool(some["live"].any()),
                last_camera=gallery.cameras[some["camera"][some["last"].argmax()]],
                stature=_stature(some),
            )
        )
    return answer


def _stature(rows: NDArray[np.void]) -> float | None:
    """The median over tracklets that were measured more often than a glance."""
    told = rows["stature"][rows["measured"] >= _MEASURED]
    return round(float(np.median(told)), 2) if len(told) else None
