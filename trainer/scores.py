"""Rows of the table that compares ways to recognise people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.dataset import Dataset, Tracklet
from trainer.embedding import FRAMES, Embedder, embed
from trainer.evaluation import Embedded, FloatArray, Retrieval, search


@dataclass(frozen=True, slots=True)
class Row:
    """How well one way of embedding finds the people of one data set."""

    name: str
    whole: Retrieval
    """With all frames of every tracklet."""
    reranked: Retrieval | None
    by_frames: Mapping[int, Retrieval]
    """With only the first frames of every tracklet, queries and gallery alike. No entry where no
    tracklet is as long."""
    query: Embedded
    gallery: Embedded

    def as_dict(self) -> dict[str, object]:
        """Plain numbers, for JSON."""
        return {
            "name": self.name,
            "rank1": self.whole.rank1,
            "rank5": float(self.whole.cmc[4]),
            "mAP": self.whole.mean_average_precision,
            "queries": self.whole.queries,
            "reranked": None if self.reranked is None else _pair(self.reranked),
            "by_frames": {str(n): _pair(found) for n, found in self.by_frames.items()},
        }


def score(
    name: str,
    embedder: Embedder,
    dataset: Dataset,
    *,
    frames: Sequence[int] = FRAMES,
    rerank: bool = False,
    threads: int = 2,
) -> Row:
    """Embed a data set's queries and gallery and look for every query."""
    query, gallery = embedded(dataset, embedder, threads=threads)
    longest = max(len(tracklet) for tracklet in dataset.gallery)
    by_frames = {}
    for count in (count for count in frames if count <= longest):
        short = embedded(dataset, embedder, frames=count, threads=threads)
        by_frames[count] = search(*short)
    reranked = search(query, gallery, rerank=True) if rerank else None
    return Row(name, search(query, gallery), reranked, by_frames, query, gallery)


def embedded(
    dataset: Dataset, embedder: Embedder, *, frames: int | None = None, threads: int = 2
) -> tuple[Embedded, Embedded]:
    """Queries and gallery as vectors; what is in both is embedded once."""
    places: dict[Tracklet, int] = {}
    for tracklet in (*dataset.gallery, *dataset.query):
        places.setdefault(tracklet, len(places))
    seen = [tracklet if frames is None else tracklet.first(frames) for tracklet in places]
    vectors = embed(seen, embedder, threads=threads)
    return _side(dataset.query, places, vectors), _side(dataset.gallery, places, vectors)


def _side(
    tracklets: Sequence[Tracklet], places: Mapping[Tracklet, int], vectors: FloatArray
) -> Embedded:
    return Embedded.of(tracklets, vectors[np.array([places[t] for t in tracklets])])


def _pair(found: Retrieval) -> dict[str, float]:
    return {"rank1": found.rank1, "mAP": found.mean_average_precision}
