"""The best assignment of rows to columns, where only some pairs are possible and a row may stay alone.

Shortest augmenting paths are walked over the possible pairs only, and every row may also stay alone at a price.
That answers the gated problem exactly, without the doubled dense matrix that it usually costs.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.frames import IntArray

Pairs: TypeAlias = tuple[IntArray, IntArray, NDArray[np.float64]]
"""starts (N+1,), columns (P,), gains (P,): row i has starts[i]:starts[i+1] of the other two."""


@compiled
def assign(pairs: Pairs, size: int) -> IntArray:  # noqa: PLR0912 one walk, told in one place
    """The matching with the largest sum of gains; `size` is the number of columns.

    Returns (N,): the column of each row, or -1. A pair costs what its gain falls short of the best
    one; every row has besides its pairs a private way out, at the cost of gaining nothing.
    """
    starts, columns, gains = pairs
    alone = 0.0
    for pair in range(len(gains)):
        alone = max(alone, gains[pair])
    rows = len(starts) - 1
    column_of, row_of = np.full(rows, -1, np.int64), np.full(size, -1, np.int64)
    row_price, column_price = np.zeros(rows), np.zeros(size)
    distance, reached_from = np.full(size, np.inf), np.empty(size, np.int64)
    scanned, touched = np.zeros(size, np.bool_), np.empty(size, np.int64)
    for start in range(rows):
        row, length, reached = start, 0.0, 0
        way_out, leaver = np.inf, start
        while True:
            if length + alone - row_price[row] < way_out:
                way_out, leaver = length + alone - row_price[row], row
            for pair in range(starts[row], starts[row + 1]):
                column = columns[pair]
                cost = length + alone - gains[pair] - row_price[row] - column_price[column]
                if not scanned[column] and cost < distance[column]:
                    if distance[column] == np.inf:
                        touched[reached] = column
                        reached += 1
                    distance[column], reached_from[column] = cost, row
            nearest = -1
            for k in range(reached):
                column = touched[k]
                if not scanned[column] and (nearest < 0 or distance[column] < distance[nearest]):
                    nearest = column
            if nearest < 0 or distance[nearest] >= way_out:
                length = way_out
                end = column_of[leaver]  # falls to the row that reached it
                column_of[leaver] = -1
                break
            length = distance[nearest]
            if row_of[nearest] < 0:
                end = nearest
                break
            scanned[nearest] = True
            row = row_of[nearest]
        row_price[start] += length
        for k in range(reached):
            column = touched[k]
            if scanned[column]:
                row_price[row_of[column]] += length - distance[column]
                column_price[column] -= length - distance[column]
                scanned[column] = False
            distance[column] = np.inf
        while end >= 0:
            row = reached_from[end]
            row_of[end] = row
            column_of[row], end = end, column_of[row]
    return column_of
