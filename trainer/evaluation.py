"""How often the right person is found: CMC and mAP under the MARS protocol.

Embeddings are normalised here and nowhere else in the trainer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import Tracklet
from trainer.errors import DataError
from trainer.reranking import reranked

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
RANKS = 100


@dataclass(frozen=True, slots=True)
class Embedded:
    """Tracklets as vectors, with what is needed to judge a match."""

    embeddings: FloatArray
    """(N, E) float32, of any length."""
    identities: IntArray
    cameras: IntArray

    def __len__(self) -> int:
        return len(self.identities)

    @classmethod
    def of(cls, tracklets: Sequence[Tracklet], embeddings: FloatArray) -> "Embedded":
        identities = np.array([tracklet.identity for tracklet in tracklets], np.int64)
        cameras = np.array([tracklet.camera for tracklet in tracklets], np.int64)
        return cls(embeddings, identities, cameras)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a search of every query in the gallery found."""

    cmc: NDArray[np.float64]
    """(RANKS,): share of queries whose person is among the first 1, 2, 3… answers."""
    mean_average_precision: float
    queries: int
    """Queries that have an answer in the gallery; only these count."""

    @property
    def rank1(self) -> float:
        return float(self.cmc[0])


def unit(embeddings: FloatArray) -> FloatArray:
    """The same directions at length 1; raises `DataError` for what is not a number."""
    if not np.isfinite(embeddings).all():
        bad = int((~np.isfinite(embeddings)).any(-1).sum())
        raise DataError(f"{bad} of {len(embeddings)} embeddings hold values that are not numbers")
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    directions: FloatArray = (embeddings / np.maximum(lengths, 1e-12)).astype(np.float32)
    return directions


def search(query: Embedded, gallery: Embedded, rerank: bool = False) -> Retrieval:
    """Look for every query in the gallery by cosine distance, re-ranked if wished."""
    queries, answers = unit(query.embeddings), unit(gallery.embeddings)
    distances = reranked(queries, answers) if rerank else 1 - queries @ answers.T
    return retrieval(distances, query, gallery)


def retrieval(distances: FloatArray, query: Embedded, gallery: Embedded) -> Retrieval:
    """Judge (Q, G) distances. Answers of the query's identity in its own camera are left out."""
    order = np.argsort(distances, axis=1, kind="stable")
    same = gallery.identities[order] == query.identities[:, None]
    ignored = same & (gallery.cameras[order] == query.cameras[:, None])
    hits = same & ~ignored
    found = hits.sum(1)
    counted = found > 0
    if not counted.any():
        raise DataError("no query's person is in the gallery in another camera: nothing to find")
    # Ranks count from 1 among the answers that are not left out.
    ranks = np.cumsum(~ignored, axis=1)
    precision = np.cumsum(hits, axis=1) / np.maximum(ranks, 1)
    average = (precision * hits).sum(1)[counted] / found[counted]
    first = ranks[np.arange(len(hits)), hits.argmax(1)][counted]
    cmc = (first[:, None] <= np.arange(1, RANKS + 1)).mean(0)
    return Retrieval(cmc, float(average.mean()), int(counted.sum()))
