"""What calibration learns from: where people were and how they looked to the network. No pictures, and a last day.

    recorder = Recorder(folder / "record.db", "grl-edge")
    LiveLoop(…, identities=Recorded(identifier, recorder), sinks=[…, recorder])

Boxes come a few times a second; looks when the frames seen have doubled, and when a tracklet ends. A record goes on
from run to run; beyond a bounded number of rows, and after two weeks, the oldest go. It notes who each tracklet is
held to be for one reason: so that somebody who is forgotten leaves it too.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import OutputError
from pipeline.frames import EventKind, IdentityEvent, TrackletUpdate
from pipeline.live import Identities
from pipeline.publish.record_file import (
    NAME,
    be_patient,
    delete_expired,
    delete_person,
    erase_expired,
    open_record,
    wipe,
)
from pipeline.publish.sink import Passed, Sighting

_log = logging.getLogger(__name__)

_SPACING = 0.18
"""Seconds between two frames of a camera whose boxes are kept: five a second, by clocks that are not exact."""
_COMMIT = 2.0
_PATIENCE = 0.05
"""Seconds for which a live loop waits for others who use the record: then what is to be written stays for later."""
_TIDY = 3600.0
"""Seconds between two looks for what is past its day."""
_MOST = {"boxes": 5_000_000, "looks": 200_000}
"""Rows: together below 1 GB."""
_OF = "FROM tracklets WHERE run = ? AND camera = ? AND local_id = ?"
_NUMBER = "(SELECT number FROM tracklets WHERE run = :run AND camera = :camera AND local_id = :{})"
_OLD, _NEW = _NUMBER.format("old"), _NUMBER.format("new")
_LATE = """WHERE tracklet = {old} AND rowid > (
    SELECT ifnull(max(rowid), 0) FROM {table} WHERE tracklet = {old} AND time <= :since)"""
_MOVE = f"UPDATE boxes SET tracklet = {_NEW} {_LATE.format(table='boxes', old=_OLD)}"
_DROP = f"DELETE FROM looks {_LATE.format(table='looks', old=_OLD)}"
_NOTE = "INSERT OR IGNORE INTO tracklets (run, camera, local_id, noted) VALUES (?, ?, ?, ?)"
_INSERT = {
    "boxes": f"INSERT INTO boxes SELECT number, ?, ?, ?, ?, ?, ?, ? {_OF}",
    "looks": f"INSERT INTO looks SELECT number, ?, ?, ?, ? {_OF}",
}

_PASSES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Trouble that may be over soon: what is to be written waits, as far as there is room."""
_Key = tuple[str, int]
_Row = tuple[object, ...]


class Recorder:
    """A sink, which is also told of every new embedding by way of `Recorded`."""

    def __init__(
        self, path: Path, network: str, digest: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        """`digest`: the hash of the network's weights. `clock`: what retention goes by."""
        self._clock = clock
        self._db = open_record(path, network, digest)
        self._cameras: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        for number, name, *size in self._db.execute("SELECT * FROM cameras"):
            self._cameras[name], self._sizes[name] = number, (size[0], size[1])
        (self._run,) = self._db.execute("SELECT 1 + ifnull(max(run), 0) FROM tracklets").fetchone()
        self._names: dict[_Key, int] = {}
        """Identities that are not yet in the file, as are the rows below…"""
        self._boxes: list[tuple[_Key, _Row]] = []
        self._looks: list[tuple[_Key, _Row]] = []
        self._passed: list[Passed] = []
        self._gone: set[int] = set()
        """…and those who are still in it, or else…"""
        self._unwiped = False
        """…in the log beside it."""
        self._told: dict[str, float] = {}
        self._latest: dict[_Key, TrackletUpdate] = {}
        self._kept: dict[_Key, int] = {}
        self._now = self._written = self._tidied = -np.inf
        self._open = True
        be_patient(self._db, _PATIENCE)

    def updates(self, updates: Iterable[TrackletUpdate]) -> None:
        """Embeddings as they come. Never fails: what is to be written waits for the end of the tick."""
        if not self._open:
            return
        for update in updates:
            key = update.camera, update.local_id
            self._latest[key] = update
            if update.frames_seen >= 2 * self._kept.get(key, 0):
                self._keep(update)

    def sighting(self, sighting: Sighting) -> None:
        frame, tracks = sighting.frame, sighting.tracks
        self._now = frame.time
        if not 0 <= frame.time - self._told.get(frame.camera, -np.inf) < _SPACING:
            self._told[frame.camera] = frame.time
            scale = self._scale(frame.camera, frame.pixels.size)
            rows = np.column_stack([tracks.boxes * scale, tracks.scores]).astype(float).tolist()
            named = zip(tracks.ids.tolist(), sighting.identities.tolist(), strict=True)
            self._names |= {(frame.camera, local): name for local, name in named if name}
            self._boxes += [
                ((frame.camera, local), (frame.time, frame.index, *row))
                for local, row in zip(tracks.ids.tolist(), rows, strict=True)
            ]

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Calibration judges for itself who is who: identities are kept to be forgotten by."""
        for event in events:
            if event.kind is EventKind.FORGOTTEN:
                self._write()
                self._forget(event.identity)
                self._write()
            elif event.kind is not EventKind.LEFT:
                self._names[event.camera, event.local_id] = event.identity

    def passed(self, tracks: Sequence[Passed]) -> None:
        """Boxes of somebody else go with him; looks that he had a part in go."""
        self._passed += [track for track in tracks if track.camera in self._cameras]
        if self._passed:
            self._write()

    def ended(self, tracklets: Sequence[_Key]) -> None:
        for key in tracklets:
            last, kept = self._latest.pop(key, None), self._kept.pop(key, 0)
            if last is not None and last.frames_seen != kept:
                self._keep(last)
                self._kept.pop(key, None)
        if not 0 <= self._now - self._written < _COMMIT:
            self._written = self._now
            self._write()

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                be_patient(self._db)
                self.ended(list(self._latest))
                self._write()
                with suppress(sqlite3.OperationalError):  # somebody may be reading
                    self._db.execute("PRAGMA journal_mode = DELETE")  # one file, to be carried away
            finally:
                self._db.close()

    def _keep(self, update: TrackletUpdate) -> None:
        if not np.isfinite(update.embedding).all():
            return
        key = update.camera, update.local_id
        self._kept[key] = update.frames_seen
        scale = max(1.0, float(np.abs(update.embedding).max()) / 6e4)  # half floats end at 65504
        look = (update.embedding / scale).astype("<f2").tobytes()
        since = update.time if update.since is None else update.since
        self._looks.append((key, (update.time, update.frames_seen, since, look)))

    def _scale(self, name: str, size: tuple[int, int]) -> NDArray[np.float64]:
        """(4,) to the size that the record has the camera's pictures in, should that have changed."""
        if name not in self._cameras:
            self._cameras[name], self._sizes[name] = len(self._cameras), size
        return np.tile(np.array(self._sizes[name]) / size, 2)

    def _write(self) -> None:
        """What is waiting, to the disk, unless somebody else has the file just then: nobody waits for that."""
        try:
            if self._gone:  # before anything says that it was somebody else
                self._unwiped |= delete_person(self._db, self._gone) > 0
                self._gone.clear()
            with self._db:
                self._fill()
            self._boxes, self._looks, self._names, self._passed = [], [], {}, []
            now = self._clock()
            if not 0 <= now - self._tidied < _TIDY:
                self._unwiped |= delete_expired(self._db, now) > 0
                self._tidied = now
            self._unwiped = self._unwiped and not wipe(self._db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _PASSES or not self._open:
                raise
        else:
            return
        for waiting, most in ((self._boxes, _MOST["boxes"]), (self._looks, _MOST["looks"])):
            del waiting[: max(len(waiting) - most // 10, 0)]

    def _fill(self) -> None:
        """One transaction. Of a camera that has not shown a picture yet there is nothing to keep."""
        place = {
            key: (self._run, self._cameras[key[0]], key[1])
            for key in [*self._names, *(key for key, _ in chain(self._boxes, self._looks))]
            if key[0] in self._cameras
        }
        now = self._clock()
        self._db.executemany(
            "INSERT OR IGNORE INTO cameras VALUES (?, ?, ?, ?)",
            [(number, name, *self._sizes[name]) for name, number in self._cameras.items()],
        )
        self._db.executemany(_NOTE, [(*where, now) for where in place.values()])
        self._db.executemany(
            "UPDATE tracklets SET identity = ? WHERE run = ? AND camera = ? AND local_id = ?",
            [(name, *place[key]) for key, name in self._names.items() if key in place],
        )
        for table, rows in (("boxes", self._boxes), ("looks", self._looks)):
            placed = [(*row, *place[key]) for key, row in rows if key in place]
            self._db.executemany(_INSERT[table], placed)
            self._db.execute(
                f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - {_MOST[table]}"
            )
        for track in self._passed:
            run, camera = self._run, self._cameras[track.camera]
            self._db.execute(_NOTE, (run, camera, track.goes_on_as, now))
            values = {"since": track.since, "new": track.goes_on_as, "old": track.local_id}
            for move in (_MOVE, _DROP):
                self._db.execute(move, values | {"run": run, "camera": camera})

    def _forget(self, identity: int) -> None:
        """Whoever it was in this run and is still in view begins anew, as in the gallery."""
        names = {number: name for name, number in self._cameras.items()}
        written = self._db.execute(
            "SELECT camera, local_id FROM tracklets WHERE identity = ? AND run = ?",
            (identity, self._run),
        )
        gone = {(names[camera], local) for camera, local in written}
        gone |= {key for key, name in self._names.items() if name == identity}
        self._boxes = [row for row in self._boxes if row[0] not in gone]
        self._looks = [row for row in self._looks if row[0] not in gone]
        for key in gone:
            self._names.pop(key, None)
            self._latest.pop(key, None)
            self._kept.pop(key, None)
        self._gone.add(identity)


class Recorded:
    """Identities whose updates a recorder sees."""

    def __init__(self, identities: Identities, recorder: Recorder) -> None:
        self._identities, self._recorder = identities, recorder

    def update(
        self, updates: Sequence[TrackletUpdate], ended: Sequence[tuple[str, int]], now: float
    ) -> list[IdentityEvent]:
        self._recorder.updates(updates)
        return self._identities.update(updates, ended, now)

    def identity_of(self, camera: str, local_id: int) -> int | None:
        return self._identities.identity_of(camera, local_id)


def recorded(
    identities: Identities, folder: Path, network: tuple[str, str] | None
) -> tuple[Identities, list[Recorder]]:
    """Identities and the sinks that record what they are told; none without a network's name and hash."""
    path = folder / NAME
    if network is None:
        try:
            erase_expired(path)
        except OutputError as error:  # a run that records nothing does not fail for it
            _log.warning("%s", error)
        return identities, []
    recorder = Recorder(path, *network)
    return Recorded(identities, recorder), [recorder]
