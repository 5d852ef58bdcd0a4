"""Ways across a site: where one can walk, how far it is to a goal, and which way leads there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from synthetic.errors import SiteError
from synthetic.site import Site, Spot

Floats = NDArray[np.float64]

_CELL = 0.25
_BODY = 0.28
"""Half a person's width: paths keep this far from walls."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Fields over a grid of cells for every goal of a site."""

    origin: Floats
    """(2,): centre of the first cell."""
    clearance: Floats
    """(rows, columns): metres to the nearest obstacle, less than 0 inside one."""
    push: Floats
    """(2, rows, columns): unit vector away from the nearest obstacle."""
    ways: Floats
    """(goals, 2, rows, columns): unit vector towards a goal."""
    distances: Floats
    """(goals, rows, columns): metres to a goal."""

    def towards(self, goals: NDArray[np.int64], position: Floats) -> tuple[Floats, Floats]:
        """Unit vectors (N, 2) towards each one's goal, and metres left (N,)."""
        row, column = self._cells(position)
        return self.ways[goals, :, row, column], self.distances[goals, row, column]

    def walls(self, position: Floats) -> tuple[Floats, Floats]:
        """Metres to the nearest obstacle (N,), smoothly, and unit vectors away from it (N, 2)."""
        at = ((position - self.origin) / _CELL).T[::-1]
        gap: Floats = map_coordinates(self.clearance, at, order=1, mode="nearest")
        away = np.stack(
            [map_coordinates(axis, at, order=1, mode="nearest") for axis in self.push], axis=1
        )
        return gap, away

    def _cells(self, position: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, columns = self.clearance.shape
        at = np.rint((position - self.origin) / _CELL).astype(np.int64)
        return np.clip(at[:, 1], 0, rows - 1), np.clip(at[:, 0], 0, columns - 1)


def routes_of(site: Site, goals: tuple[Spot, ...]) -> Routes:
    """Solve shortest paths to every goal; a goal that cannot be reached from the others is an
    error.
    """
    x0, y0, x1, y1 = site.bounds
    xs = np.arange(x0, x1, _CELL) + _CELL / 2
    ys = np.arange(y0, y1, _CELL) + _CELL / 2
    free = _free(site, xs, ys)
    clearance = distance_transform_edt(free, sampling=_CELL)
    clearance -= distance_transform_edt(~free, sampling=_CELL)
    walkable = clearance > _BODY
    graph, index = _graph(walkable, clearance)
    origin = np.array([xs[0], ys[0]])
    cells = [_cell_of(goal, origin, index, site.name) for goal in goals]
    solved = dijkstra(graph, directed=False, indices=cells)
    if not np.isfinite(solved[:, cells]).all():
        raise SiteError(f"Site {site.name} is cut in two: not every door and spot can be reached.")
    distances = np.full((len(goals), *free.shape), np.inf)
    distances[:, walkable] = solved
    ways = np.stack([_downhill(_filled(field)) for field in distances])
    down, along = np.gradient(clearance, _CELL)
    push = np.stack([along, down])
    push = push / np.maximum(np.linalg.norm(push, axis=0), 1e-6)
    return Routes(origin, clearance, push, ways, np.where(np.isfinite(distances), distances, 1e3))


def _free(site: Site, xs: Floats, ys: Floats) -> NDArray[np.bool_]:
    x, y = np.meshgrid(xs, ys)
    free = np.zeros(x.shape, dtype=np.bool_)
    for left, low, right, high in site.areas:
        free |= (x > left) & (x < right) & (y > low) & (y < high)
    half = _CELL / 2  # a wall thinner than a cell must not slip between cell centres
    for box in site.boxes:
        if box.low[2] < 1.9:
            beside = (x < box.low[0] - half) | (x > box.high[0] + half)
            free &= beside | (y < box.low[1] - half) | (y > box.high[1] + half)
    for pillar in site.pillars:
        if pillar.low < 1.9:
            free &= np.hypot(x - pillar.at[0], y - pillar.at[1]) > pillar.radius
    return free


def _graph(walkable: NDArray[np.bool_], clearance: Floats) -> tuple[csr_array, NDArray[np.int64]]:
    """Neighbouring cells with the length of the step; steps near walls count for more."""
    index = np.full(walkable.shape, -1, dtype=np.int64)
    index[walkable] = np.arange(walkable.sum())
    tight = 1 + 0.8 * np.exp(-(clearance - _BODY) / 0.4)
    rows, columns, lengths = [], [], []
    for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape_r, shape_c = walkable.shape
        a = (slice(0, shape_r - dr), slice(max(0, -dc), shape_c - max(0, dc)))
        b = (slice(dr, shape_r), slice(max(0, dc), shape_c - max(0, -dc)))
        both = walkable[a] & walkable[b]
        rows.append(index[a][both])
        columns.append(index[b][both])
        lengths.append(_CELL * np.hypot(dr, dc) * (tight[a][both] + tight[b][both]) / 2)
    count = int(walkable.sum())
    entries = np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))
    return coo_array(entries, shape=(count, count)).tocsr(), index


def _cell_of(goal: Spot, origin: Floats, index: NDArray[np.int64], name: str) -> int:
    column, row = np.rint((np.asarray(goal) - origin) / _CELL).astype(int)
    inside = 0 <= row < index.shape[0] and 0 <= column < index.shape[1]
    if not inside or index[row, column] < 0:
        raise SiteError(
            f"Site {name}: ({goal[0]:g}, {goal[1]:g}) lies in or too near an obstacle, or outside."
        )
    return int(index[row, column])


def _filled(field: Floats) -> Floats:
    """Give cells that nobody can stand on the value of their nearest walkable one, and a slope back
    to it.
    """
    blocked = ~np.isfinite(field)
    gap, (row, column) = distance_transform_edt(blocked, sampling=_CELL, return_indices=True)
    return np.where(blocked, field[row, column] + 3 * gap, field)


def _downhill(field: Floats) -> Floats:
    down, along = np.gradient(field, _CELL)
    slope = -np.stack([along, down])
    result: Floats = slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-9)
    return result
