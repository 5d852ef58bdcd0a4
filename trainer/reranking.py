"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) in sparse matrices, all tracklets at once."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float32]


def reranked(
    queries: FloatArray, gallery: FloatArray, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> FloatArray:
    """(Q, G) distances that let mutual neighbours vouch for each other.

    `queries` (Q, E) and `gallery` (G, E) are unit vectors. `weight` is the share of the plain
    distance in the result; the rest is the Jaccard distance of the neighbourhoods.
    """
    everyone = np.concatenate([queries, gallery]).astype(np.float64)
    distances = np.maximum(2 - 2 * everyone @ everyone.T, 0)
    distances = (distances / np.maximum(distances.max(0), 1e-12)).T.astype(np.float32)
    count = len(everyone)
    k2 = min(k2, count)
    kept = min(max(k1 + 1, k2), count)
    # Of equally near ones the first: other ways to sort choose by what the processor can do.
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :kept]

    mutual = _mutual(nearest[:, : k1 + 1])
    half = _mutual(nearest[:, : round(k1 / 2) + 1])
    # A neighbour's own close circle joins where two thirds of it are neighbours already.
    shared = mutual.multiply(mutual @ half.T).tocoo()
    sizes = np.asarray(half.sum(1)).ravel()
    joins = shared.data > 2 / 3 * sizes[shared.col]
    circle = sparse.csr_matrix(
        (np.ones(joins.sum()), (shared.row[joins], shared.col[joins])), (count, count)
    )
    grown = (mutual + circle @ half).tocoo()
    rows, columns = grown.row, grown.col
    closeness = np.exp(-distances[rows, columns])
    totals = np.bincount(rows, closeness, count)
    encoded = sparse.csr_matrix((closeness / totals[rows], (rows, columns)), (count, count))
    mean = sparse.csr_matrix(
        (
            np.full(count * k2, 1 / k2),
            (np.repeat(np.arange(count), k2), nearest[:, :k2].ravel()),
        ),
        (count, count),
    )
    overlap = _overlap((mean @ encoded).tocsr(), len(queries))
    jaccard = 1 - overlap / (2 - overlap)
    blend: FloatArray = ((1 - weight) * jaccard + weight * distances[: len(queries)]).astype("f4")
    return blend[:, len(queries) :]


def _mutual(nearest: NDArray[np.int64]) -> sparse.csr_matrix:
    """1 where each of two is among the other's `nearest` (N, k)."""
    count, k = nearest.shape
    near = sparse.csr_matrix(
        (np.ones(count * k), (np.repeat(np.arange(count), k), nearest.ravel())), (count, count)
    )
    return sparse.csr_matrix(near.multiply(near.T))


def _overlap(encoded: sparse.csr_matrix, queries: int) -> NDArray[np.float64]:
    """(Q, N): the sum of the smaller of two rows' values, for every query against every row."""
    by_column = encoded.tocsc()
    overlap = np.zeros((queries, encoded.shape[0]))
    for query in range(queries):
        own = encoded[query]
        part = by_column[:, own.indices]
        limits = np.repeat(own.data, np.diff(part.indptr))
        overlap[query] = np.bincount(
            part.indices, np.minimum(part.data, limits), minlength=encoded.shape[0]
        )
    return overlap
