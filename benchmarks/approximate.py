"""Approximate search of a gallery, in an environment that has hnswlib: python approximate.py ROWS QUERIES

Prints JSON: seconds to build, milliseconds a query, and how often the nearest was found. The index is built and
asked on one thread, as the exact search is that it is compared with.
"""

import importlib
import json
import sys
import time

import numpy as np

SIZE = 768
NOISE = 0.03
"""Deviation of each value of a unit vector: a query has a cosine of about 0.77 with its own row."""


def gallery_of(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, SIZE) unit vectors, and 50 queries near as many of them."""
    rng = np.random.default_rng(rows)
    looks = rng.standard_normal((rows, SIZE), dtype=np.float32)
    for start in range(0, rows, 65536):
        part = looks[start : start + 65536]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    chosen = rng.integers(rows, size=50)
    queries = looks[chosen] + NOISE * rng.standard_normal((50, SIZE), dtype=np.float32)
    return looks, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def main() -> None:
    looks, queries = gallery_of(int(sys.argv[1]))
    index = importlib.import_module("hnswlib").Index(space="ip", dim=SIZE)
    index.init_index(max_elements=len(looks), ef_construction=100, M=16)
    index.set_num_threads(1)
    index.set_ef(100)
    began = time.perf_counter()
    index.add_items(looks, num_threads=1)
    built = time.perf_counter() - began
    found, times = [], []
    for query in queries:
        began = time.perf_counter()
        labels, _ = index.knn_query(query[None], k=1)
        times.append(time.perf_counter() - began)
        found.append(int(labels[0, 0]))
    right = (queries @ looks.T).argmax(axis=1)
    answer = {
        "build_seconds": built,
        "ms": 1e3 * float(np.median(times)),
        "recall": float((np.array(found) == right).mean()),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
