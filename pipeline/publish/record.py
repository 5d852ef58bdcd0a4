"""What calibration learns from: where people were and how they looked to the network. No pictures, and a last day.

    recorder = Recorder(folder / "record.db", cameras, "grl-edge")
    LiveLoop(…, identities=Recorded(identifier, recorder), sinks=[…, recorder])

One SQLite file of these tables, read by `calibration.record`:

    about     format, network, begun, expires (seconds since the epoch)
    cameras   number, name, width and height of its pictures
    boxes     camera, local id, time, frame (index from 0), left, top, right, bottom, score
    looks     camera, local id, time, frames seen, embedding as the network gave it (float16), and `since`

Boxes come a few times a second; looks when the frames seen have doubled, and when a tracklet ends. Beyond a bounded
number of rows the oldest go.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import OutputError
from pipeline.frames import IdentityEvent, TrackletUpdate
from pipeline.live import Identities
from pipeline.publish.sink import Sighting

FORMAT = 1
APPLICATION = 0x7468726D  # "thrm", in the file's header
KEEP = 14 * 86400.0
"""Seconds for which a record may be used."""
_SPACING = 0.18
"""Seconds between two frames of a camera whose boxes are kept: five a second, by clocks that are not exact."""
_COMMIT = 2.0
_MOST = {"boxes": 5_000_000, "looks": 200_000}
"""Rows: together below 1 GB."""
_TABLES = """
CREATE TABLE about (format INTEGER, network TEXT, begun REAL, expires REAL);
CREATE TABLE cameras (number INTEGER PRIMARY KEY, name TEXT, width INTEGER, height INTEGER);
CREATE TABLE boxes (camera INTEGER, local_id INTEGER, time REAL, frame INTEGER,
    x0 REAL, y0 REAL, x1 REAL, y1 REAL, score REAL);
CREATE TABLE looks (camera INTEGER, local_id INTEGER, time REAL, frames INTEGER, since REAL, embedding BLOB);
"""


class Recorder:
    """A sink, which is also told of every new embedding by way of `Recorded`."""

    def __init__(self, path: Path, network: str, clock: float | None = None) -> None:
        self._path = path
        begun = time.time() if clock is None else clock
        try:
            for old in path.parent.glob(path.name + "*"):
                old.unlink()  # local ids begin anew with every run
            self._db = sqlite3.connect(path, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION}; {_TABLES} COMMIT;"
            )
            with self._db:
                self._db.execute(
                    "INSERT INTO about VALUES (?, ?, ?, ?)", (FORMAT, network, begun, begun + KEEP)
                )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot record into {path}: {error}") from error
        self._cameras: dict[str, int] = {}
        self._boxes: list[tuple[float, ...]] = []
        self._looks: list[tuple[object, ...]] = []
        self._told: dict[str, float] = {}
        self._latest: dict[tuple[str, int], TrackletUpdate] = {}
        self._kept: dict[tuple[str, int], int] = {}
        self._written = -np.inf
        self._open = True

    def updates(self, updates: Iterable[TrackletUpdate]) -> None:
        """Embeddings as they come. Never fails: what is to be written waits for the next sighting."""
        if not self._open:
            return
        for update in updates:
            key = update.camera, update.local_id
            self._latest[key] = update
            if update.frames_seen >= 2 * self._kept.get(key, 0):
                self._keep(update)

    def sighting(self, sighting: Sighting) -> None:
        frame, tracks = sighting.frame, sighting.tracks
        camera = self._camera(frame.camera, frame.pixels.size)
        if not 0 <= frame.time - self._told.get(frame.camera, -np.inf) < _SPACING:
            self._told[frame.camera] = frame.time
            rows = np.column_stack([tracks.boxes, tracks.scores]).astype(float).tolist()
            self._boxes += [
                (camera, local, frame.time, frame.index, *row)
                for local, row in zip(tracks.ids.tolist(), rows, strict=True)
            ]
        if not 0 <= frame.time - self._written < _COMMIT:
            self._written = frame.time
            self._write()

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Not recorded: calibration judges for itself who is who."""

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        for key in tracklets:
            last, kept = self._latest.pop(key, None), self._kept.pop(key, 0)
            if last is not None and last.frames_seen != kept:
                self._keep(last)
                self._kept.pop(key, None)

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self.ended(list(self._latest))
                self._write()
                self._db.execute("PRAGMA journal_mode = DELETE")  # one file, to be carried away
            finally:
                self._db.close()

    def _keep(self, update: TrackletUpdate) -> None:
        if not np.isfinite(update.embedding).all():
            return
        self._kept[update.camera, update.local_id] = update.frames_seen
        scale = max(1.0, float(np.abs(update.embedding).max()) / 6e4)  # half floats end at 65504
        look = (update.embedding / scale).astype("<f2").tobytes()
        since = update.time if update.since is None else update.since
        row = (update.camera, update.local_id, update.time, update.frames_seen, since, look)
        self._looks.append(row)

    def _camera(self, name: str, size: tuple[int, int]) -> int:
        if name not in self._cameras:
            number = self._cameras[name] = len(self._cameras)
            with self._db:
                self._db.execute("INSERT INTO cameras VALUES (?, ?, ?, ?)", (number, name, *size))
        return self._cameras[name]

    def _write(self) -> None:
        known = [row for row in self._looks if row[0] in self._cameras]
        looks = [(self._cameras[str(row[0])], *row[1:]) for row in known]
        with self._db:
            self._db.executemany("INSERT INTO boxes VALUES (?,?,?,?,?,?,?,?,?)", self._boxes)
            self._db.executemany("INSERT INTO looks VALUES (?,?,?,?,?,?)", looks)
            for table, most in _MOST.items():
                self._db.execute(
                    f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - {most}"
                )
        self._boxes.clear()
        self._looks.clear()


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
    identities: Identities, folder: Path, network: str | None
) -> tuple[Identities, list[Recorder]]:
    """Identities and the sinks that record what they are told; none without a network's name."""
    path = folder / "record.db"
    erase_if_expired(path)
    if network is None:
        return identities, []
    recorder = Recorder(path, network)
    return Recorded(identities, recorder), [recorder]


def erase_if_expired(path: Path, now: float | None = None) -> bool:
    """Delete a record past its date. True if it was."""
    with contextlib.suppress(OSError, sqlite3.Error):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(db):
            (expires,) = db.execute("SELECT expires FROM about").fetchone()
        if (time.time() if now is None else now) > expires:
            for part in path.parent.glob(path.name + "*"):
                part.unlink()
            return True
    return False
