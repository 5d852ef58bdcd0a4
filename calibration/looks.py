"""How tracklets look to the network, whoever recorded them: the common ground of every source of likeness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.record import Record
from pipeline.frames import FloatArray, IntArray

COUNTS = (1, 2, 4, 8, 16)
LEAST_FRAMES = 2
LATEST = 4000
"""Tracklets that are looked at: all are compared with all, and weeks of them would not fit into memory."""
_CLOSEST = 0.9995
_PICTURES = 3
"""Pictures that show two tracklets, from which on they are two people. That they were about at one time is not enough:
two tracks can take turns on one person."""
_MIXED = 0.3
"""Share of a box that another one covers, from which on each is in the other's crops: they look alike for that."""
_NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Looks:
    """N tracklets that were seen often enough to be judged."""

    tracklet: IntArray
    """(N,) where each is in its source."""
    camera: IntArray
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    """(N,) seconds; NaN where times are not known."""
    frames: IntArray
    embeddings: FloatArray
    """(N, E) unit vectors, of all frames."""
    early: dict[int, tuple[IntArray, FloatArray]]
    """After so many frames: (M,) which of the N, and their (M, E) unit vectors then."""
    together: tuple[IntArray, IntArray] = (_NOBODY, _NOBODY)
    """(P,), (P,) pairs whom one picture showed side by side, several times, never one behind the other: surely two."""

    def __len__(self) -> int:
        return len(self.tracklet)


def looks_of(record: Record, least: int = LEAST_FRAMES, most: int = LATEST) -> Looks:
    """The tracklets of a record that have an embedding of at least so many frames; the latest, if they are too many."""
    rows, T = record.looks, record.tracklets
    ends = np.flatnonzero(np.append(np.diff(rows["tracklet"]) != 0, len(rows) > 0))
    ends = ends[rows["frames"][ends] >= least]
    ends = np.sort(ends[np.argsort(T["first"][rows["tracklet"][ends]])[-most:]])
    tracklet = rows["tracklet"][ends]
    vectors = unit(record.embeddings)
    early = {}
    for count in COUNTS:
        then = np.flatnonzero((rows["frames"] == count) & np.isin(rows["tracklet"], tracklet))
        early[count] = np.searchsorted(tracklet, rows["tracklet"][then]), vectors[then]
    return Looks(
        tracklet=tracklet,
        camera=T["camera"][tracklet].astype(np.int64),
        first=T["first"][tracklet],
        last=T["last"][tracklet],
        frames=rows["frames"][ends],
        embeddings=vectors[ends],
        early=early,
        together=_side_by_side(record, tracklet),
    )


def unit(vectors: FloatArray) -> FloatArray:
    """(N, E) vectors at length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def fisher(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosines on a scale without ends, where likenesses spread about evenly: Fisher's z."""
    return np.arctanh(np.clip(np.asarray(cosines, np.float64), -_CLOSEST, _CLOSEST))


def _side_by_side(record: Record, tracklet: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of places in `tracklet`, sorted, that were boxed in the same pictures."""
    place = np.full(len(record.tracklets), -1, np.int64)
    place[tracklet] = np.arange(len(tracklet))
    boxes = record.boxes[place[record.boxes["tracklet"]] >= 0]
    boxes = boxes[np.lexsort((boxes["time"], boxes["camera"]))]
    who = place[boxes["tracklet"]]
    pairs, mixed, step = [_NOBODY], [_NOBODY], 1
    while True:  # of each picture: everybody with the next, then with the one after him, and so on
        same = boxes["camera"][step:] == boxes["camera"][:-step]
        same &= boxes["time"][step:] == boxes["time"][:-step]
        if not same.any():
            break
        one, other = who[:-step][same], who[step:][same]
        pair = np.minimum(one, other) * len(tracklet) + np.maximum(one, other)
        pairs.append(pair)
        mixed.append(pair[_covered(boxes["box"][:-step][same], boxes["box"][step:][same]) > _MIXED])
        step += 1
    found, pictures = np.unique(np.concatenate(pairs), return_counts=True)
    found = np.setdiff1d(found[pictures >= _PICTURES], np.concatenate(mixed))
    return found // max(len(tracklet), 1), found % max(len(tracklet), 1)


def _covered(some: FloatArray, others: FloatArray) -> FloatArray:
    """(P,) share of the smaller box that the other one covers, of pairs of boxes (P, 4)."""
    low, high = np.maximum(some[:, :2], others[:, :2]), np.minimum(some[:, 2:], others[:, 2:])
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (some, others)]
    shared = np.clip(high - low, 0, None).prod(axis=1)
    covered: FloatArray = shared / np.maximum(np.minimum(*areas), 1e-6)
    return covered


def cosines(vectors: FloatArray, one: IntArray, other: IntArray) -> FloatArray:
    """(P,) of pairs of unit vectors."""
    parts: Sequence[FloatArray] = [
        np.einsum("ij,ij->i", vectors[one[at : at + 65536]], vectors[other[at : at + 65536]])
        for at in range(0, max(len(one), 1), 65536)
    ]
    return np.concatenate(parts)
