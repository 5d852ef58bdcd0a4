"""How tracklets look to the network, whoever recorded them: the common ground of every source of likeness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.record import Record
from pipeline.frames import FloatArray, IntArray

COUNTS = (1, 2, 4, 8, 16)
LEAST_FRAMES = 2
_CLOSEST = 0.9995


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

    def __len__(self) -> int:
        return len(self.tracklet)


def looks_of(record: Record, least: int = LEAST_FRAMES) -> Looks:
    """The tracklets of a record that have an embedding of at least so many frames."""
    rows, T = record.looks, record.tracklets
    ends = np.flatnonzero(np.append(np.diff(rows["tracklet"]) != 0, len(rows) > 0))
    ends = ends[rows["frames"][ends] >= least]
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
    )


def unit(vectors: FloatArray) -> FloatArray:
    """(N, E) vectors at length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def fisher(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosines on a scale without ends, where likenesses spread about evenly: Fisher's z."""
    return np.arctanh(np.clip(np.asarray(cosines, np.float64), -_CLOSEST, _CLOSEST))


def seen_together(looks: Looks, least: float = 0.5) -> tuple[IntArray, IntArray]:
    """Pairs of tracklets that one camera had in view at once, for `least` seconds: surely two people."""
    one, other = np.triu_indices(len(looks), 1)
    shared = np.minimum(looks.last[one], looks.last[other])
    shared -= np.maximum(looks.first[one], looks.first[other])
    together = (shared > least) & (looks.camera[one] == looks.camera[other])
    return one[together], other[together]


def strangers(looks: Looks, who: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of two people, in two cameras; `who` (N,) each tracklet is, -1 where nobody knows."""
    one, other = np.triu_indices(len(looks), 1)
    apart = (who[one] != who[other]) & (who[one] >= 0) & (who[other] >= 0)
    apart &= looks.camera[one] != looks.camera[other]
    return one[apart], other[apart]


def cosines(vectors: FloatArray, one: IntArray, other: IntArray) -> FloatArray:
    """(P,) of pairs of unit vectors."""
    parts: Sequence[FloatArray] = [
        np.einsum("ij,ij->i", vectors[one[at : at + 65536]], vectors[other[at : at + 65536]])
        for at in range(0, max(len(one), 1), 65536)
    ]
    return np.concatenate(parts)
