"""The gallery: a table of tracklets, live and past. An identity is the set of rows with its number.

So a correction changes one row, a merge several, forgetting deletes rows, and nothing else has to agree.

Up to EXACT rows every search compares with all of them: one matrix product and one pass over the groups. Beyond, it
compares with those rows' identities that sketches let through, and with whoever was about a moment ago.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import IdentifyError
from pipeline.frames import FloatArray, IntArray, TrackletUpdate
from pipeline.identify.paths import Paths
from pipeline.identify.prior import Presence
from pipeline.identify.sketches import Sketches

EXACT = 100_000
"""Rows from which on sketches decide who is compared at all: below, they gain nothing."""
SHORTLIST, SHORTEST = 2_000, 200
"""Rows that they let through for one question, and for each of many at once…"""
MOMENT = 120.0
"""…beside those seen within so many seconds, for whom time and place may speak."""

ROW = np.dtype(
    [
        ("serial", np.int64),  # never reused, across restarts: the row's name in the store
        ("identity", np.int64),  # 0: tentative
        ("camera", np.int32),
        ("local_id", np.int64),
        ("first", np.float64),
        ("last", np.float64),
        (
            "since",
            np.float64,
        ),  # when the row's identity was first seen, though that row may be gone
        ("frames", np.int64),
        ("judged", np.int64),  # frames at the last judgement
        ("confidence", np.float32),
        ("score", np.float32),  # of the last judgement
        ("live", np.bool_),
        ("stature", np.float32),  # metres, where it was measured…
        ("measured", np.int64),  # …in so many steps
    ]
)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by identity; tentative ones left out."""

    order: IntArray
    starts: IntArray
    """Where in `order` each identity begins."""
    numbers: IntArray
    """(K,) identities, ascending."""
    sizes: IntArray
    """(K,) rows of each."""

    @classmethod
    def of(cls, identity: IntArray) -> "Groups":
        order = np.argsort(identity, kind="stable")
        order = order[np.searchsorted(identity[order], 1) :]
        numbers, starts = np.unique(identity[order], return_index=True)
        return cls(order, starts, numbers, np.diff(starts, append=len(order)))

    def maxima(self, values: FloatArray) -> FloatArray:
        """(Q, R) values of rows → (Q, K), the greatest of each identity."""
        if not len(self.numbers):
            return np.zeros((len(values), 0), np.float32)
        return np.maximum.reduceat(values[:, self.order], self.starts, axis=1)

    def sums(self, values: FloatArray) -> FloatArray:
        """(Q, R) values of rows → (Q, K), the sum of each identity's."""
        if not len(self.numbers):
            return np.zeros((len(values), 0), np.float32)
        return np.add.reduceat(values[:, self.order], self.starts, axis=1)

    def rows(self, chosen: NDArray[np.bool_]) -> IntArray:
        """Rows of the identities that are marked in `chosen` (K,)."""
        return self.order[np.repeat(chosen, self.sizes)]


class Gallery:
    """Rows 0…len-1 are in use, in no order that means anything; a removal moves the last ones."""

    def __init__(self, size: int, room: int = 256) -> None:
        self.size = size
        self.cameras: list[str] = []
        self.refused = 0
        """Updates that could not be used: not finite, of length zero, or after the tracklet's end."""
        self._camera_index: dict[str, int] = {}
        self._room = np.zeros(room, ROW)
        self._look_room = np.zeros((room, size), np.float32)
        self._sketches = Sketches(size, room)
        self._count = 0
        self._next_serial = 1
        self._restored = 0  # the last serial of an earlier run
        self._row_of: dict[tuple[int, int], int] = {}
        self._groups: Groups | None = None
        self.paths = Paths()
        """Where on the floor each row was."""

    def __len__(self) -> int:
        return self._count

    @property
    def table(self) -> NDArray[np.void]:
        """(R,) of ROW: a view, valid until rows are added or removed. Write identities by `assign`."""
        return self._room[: self._count]

    @property
    def looks(self) -> FloatArray:
        """(R, E) float32 unit vectors: a view, as above."""
        return self._look_room[: self._count]

    @property
    def groups(self) -> Groups:
        if self._groups is None:
            self._groups = Groups.of(self.table["identity"])
        return self._groups

    def row(self, camera: str, local_id: int) -> int | None:
        """Where a tracklet of this run is."""
        return self._row_of.get((self._camera_index.get(camera, -1), local_id))

    def of_this_run(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which rows are of this run: local ids of the others mean somebody else now."""
        mine: NDArray[np.bool_] = self.table["serial"][rows] > self._restored
        return mine

    def members(self, identities: Iterable[int]) -> IntArray:
        """Rows of some identities."""
        groups, found = self.groups, [np.empty(0, np.int64)]
        for number in sorted(set(identities)):
            k = int(np.searchsorted(groups.numbers, number))
            if k < len(groups.numbers) and groups.numbers[k] == number:
                found.append(groups.order[groups.starts[k] : groups.starts[k] + groups.sizes[k]])
        return np.concatenate(found)

    def worth_comparing(self, due: IntArray) -> IntArray | None:
        """Rows that may be of the same people as those in `due`, these among them; None where all may."""
        if self._count <= EXACT or not len(due):
            return None
        last, identity = self.table["last"], self.table["identity"]
        near = self._sketches.nearest(due, self._count, max(SHORTEST, SHORTLIST // len(due)))
        chosen = last >= last[due].min() - MOMENT
        chosen[near] = True
        wanted = np.zeros(identity.max() + 1, np.bool_)
        wanted[identity[chosen]] = True
        wanted[0] = False  # tentative ones are nobody yet
        chosen |= wanted[identity]
        return np.flatnonzero(chosen)

    def presence(self, rows: IntArray) -> Presence:
        # In one piece each, or a single row and several would each be compiled for.
        camera, first, last, stature, measured = (
            np.ascontiguousarray(self.table[name][rows])
            for name in ("camera", "first", "last", "stature", "measured")
        )
        return Presence(camera, first, last, stature, measured, rows, self.paths)

    def camera_index(self, name: str) -> int:
        if name not in self._camera_index:
            self._camera_index[name] = len(self.cameras)
            self.cameras.append(name)
        return self._camera_index[name]

    def write(self, updates: Iterable[TrackletUpdate]) -> IntArray:
        """Bring tracklets up to date, in any order; returns their rows. Embeddings are copied."""
        arrived = sorted(updates, key=_in_order)
        latest = list({(u.camera, u.local_id): u for u in arrived}.values())
        if not latest:
            return np.zeros(0, np.int64)
        wrong = {u.embedding.shape for u in latest} - {(self.size,)}
        if wrong:
            raise IdentifyError(
                f"an embedding has shape {min(wrong)}, but those known here have {self.size} values: "
                "was the network changed?"
            )
        looks = np.stack([u.embedding for u in latest]).astype(np.float32, copy=False)
        times = np.array([u.time for u in latest])
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", looks, looks))
            sound = np.isfinite(norms) & (norms > 1e-12) & np.isfinite(times)
        places = self._rows_for(latest, sound)
        sound &= places >= 0
        self.refused += len(latest) - int(sound.sum())
        table, rows = self._room, np.asarray(places[sound], np.int64)
        self._look_room[rows] = looks[sound] / norms[sound, None]
        self._sketches.write(rows, self._look_room[rows])
        frames = np.array([u.frames_seen for u in latest], np.int64)[sound]
        confidence = np.array([u.confidence for u in latest], np.float32)[sound]
        table["frames"][rows] = np.maximum(frames, 1)
        table["confidence"][rows] = np.nan_to_num(confidence)
        back = np.array([u.takes_back for u in latest], np.bool_)[sound]
        grown = np.maximum(table["last"][rows], times[sound])
        table["last"][rows] = np.where(back, times[sound], grown)
        walked = [u.path for u, fine in zip(latest, sound.tolist(), strict=True) if fine]
        self.paths.write(rows.tolist(), walked, len(self._room))
        self.paths.cut(rows[back], times[sound][back])
        table["stature"][rows], table["measured"][rows] = self.paths.stature(rows)
        return rows

    def end(self, tracklets: Iterable[tuple[str, int]]) -> IntArray:
        """Mark tracklets as past; returns the rows of those that were live, in canonical order."""
        found = (self.row(camera, local) for camera, local in sorted(set(tracklets)))
        rows = np.array([row for row in found if row is not None], np.int64)
        rows = rows[np.flatnonzero(self.table["live"][rows])]
        self.table["live"][rows] = False
        return rows

    def assign(self, rows: IntArray, identities: IntArray) -> None:
        if not np.array_equal(self.table["identity"][rows], identities):
            self.table["identity"][rows] = identities
            self._groups = None

    def restore(self, table: NDArray[np.void], looks: FloatArray, cameras: Sequence[str]) -> None:
        """Fill an empty gallery with past tracklets; `camera` of the table indexes `cameras`."""
        index = np.array([self.camera_index(name) for name in cameras], np.int32)
        self._grow(len(table))
        self._count = len(table)
        self.table[:], self.looks[:] = table, looks
        self._sketches.write(slice(0, len(table)), looks)
        self.table["camera"] = index[table["camera"]]
        self.table["live"] = False
        self._restored = int(table["serial"].max(initial=0))
        self._next_serial = 1 + self._restored
        self._groups = None

    def remove(self, rows: IntArray) -> None:
        """Delete rows. The last rows move into their places, so indices change."""
        gone = np.zeros(self._count, np.bool_)
        gone[rows] = True
        holes = np.flatnonzero(gone)
        for row in holes:
            key = self._key(row)
            if self._row_of.get(key) == row:  # a row of an earlier run has no key
                del self._row_of[key]
        left = self._count - len(holes)
        holes = holes[holes < left]
        movers = left + np.flatnonzero(~gone[left:])
        for hole, mover in zip(holes, movers, strict=True):
            key = self._key(mover)
            if self._row_of.get(key) == mover:
                self._row_of[key] = int(hole)
        self._room[holes] = self._room[movers]
        self._look_room[holes] = self._look_room[movers]
        self._sketches.move(holes, movers)
        self.paths.move(holes, movers)
        self._count = left
        self._groups = None

    def surplus(self, identity: int, keep: int) -> IntArray:
        """Past rows of an identity that say least beside the others, so that `keep` remain.

        Another row of the same camera with nearly the same look makes a row superfluous; the latest
        row stays, as it tells where the person was last.
        """
        rows = self.members([identity])
        gone: list[int] = []
        while len(rows) > keep:
            some = self.table[rows]
            alike = self.looks[rows] @ self.looks[rows].T
            alike += 2.0 * (some["camera"][:, None] == some["camera"][None, :])
            np.fill_diagonal(alike, -np.inf)
            nearest = alike.max(axis=1)
            nearest[some["live"] | (some["last"] == some["last"].max())] = -np.inf
            if np.isneginf(nearest).all():
                break
            # Of two that resemble each other most, the one that was made of fewer frames goes.
            worst = np.flatnonzero(nearest == nearest.max())
            victim = worst[np.argmin(some["frames"][worst])]
            gone.append(int(rows[victim]))
            rows = np.delete(rows, victim)
        return np.array(gone, np.int64)

    def _rows_for(self, updates: Sequence[TrackletUpdate], sound: NDArray[np.bool_]) -> IntArray:
        """Rows of tracklets, made where new; -1 for what is unsound or came after its end."""
        rows = np.full(len(updates), -1, np.int64)
        fresh: list[int] = []
        for i, update in enumerate(updates):
            key = (self.camera_index(update.camera), update.local_id)
            row = self._row_of.get(key)
            if row is not None:
                rows[i] = row if self._room["live"][row] else -1
            elif sound[i]:
                fresh.append(i)
        if fresh:
            self._grow(len(fresh))
            new = np.arange(self._count, self._count + len(fresh))
            table = self._room
            table[new] = np.zeros((), ROW)
            table["serial"][new] = self._next_serial + np.arange(len(fresh))
            table["live"][new] = True
            self.paths.clear(new)
            for row, i in zip(new.tolist(), fresh, strict=True):
                update = updates[i]
                key = (self._camera_index[update.camera], update.local_id)
                self._row_of[key] = row
                table["camera"][row], table["local_id"][row] = key
                began = update.time if update.since is None else min(update.since, update.time)
                table["first"][row] = table["since"][row] = began
                table["last"][row] = update.time
            self._next_serial += len(fresh)
            self._count += len(fresh)
            self._groups = None
            rows[fresh] = new
        return rows

    def _grow(self, extra: int) -> None:
        need = self._count + extra
        if need > len(self._room):
            room = max(need, 2 * len(self._room))
            table, looks = np.zeros(room, ROW), np.zeros((room, self.size), np.float32)
            table[: self._count], looks[: self._count] = self.table, self.looks
            self._room, self._look_room = table, looks
            self._sketches.grow(room)
            if self.paths:
                self.paths.grow(room)

    def _key(self, row: np.integer[Any]) -> tuple[int, int]:
        return int(self._room["camera"][row]), int(self._room["local_id"][row])


def _in_order(update: TrackletUpdate) -> tuple[str, int, bool, float, int]:
    """What takes something back comes after all that it takes back."""
    u = update
    return u.camera, u.local_id, u.takes_back, u.time, u.frames_seen
