"""The gallery on disk: one SQLite file, written behind the live loop's back.

A writer thread commits twice a second what changed since, so that kill -9 loses less than a second.
Numbers of identities are reserved in blocks before they are given out: one that was ever published
is not given again, even if the second in which that happened is lost. There are no pictures in it.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.gallery import ROW
from pipeline.identify.merged import MOST, Pair, all_names, write_pairs
from pipeline.identify.store_file import (
    Network,
    Ownership,
    check_network,
    next_number,
    open_file,
    reading,
)

_log = logging.getLogger(__name__)

_BLOCK = 256
_PAUSE = 5.0
"""Seconds until a reservation that failed is tried again: the loop waits for it."""
_COLUMNS = (
    "serial", "identity", "camera", "local_id", "first", "last", "since", "frames", "judged",
    "confidence", "score", "stature", "measured",
)  # fmt: skip

_Record = tuple[object, ...]


class GalleryStore:
    """An open file of identities.

    `owner=True` is the live run: one at a time, with a writer thread. Otherwise it is a visit, by
    `list`, `find` or `forget`, which may happen beside a live run: that run forgets within a second.

    `digest` tells apart networks of one name: the hash of the weights. None is any.
    """

    def __init__(
        self,
        path: Path,
        network: str | None = None,
        size: int | None = None,
        *,
        digest: str | None = None,
        owner: bool = True,
        interval: float = 0.5,
    ) -> None:
        self.path = path
        self.failures = 0
        """Times that the disk refused a write. What was refused is kept and tried again."""
        self.size = size
        """Values per embedding; None in a new file, until `adopt`."""
        self.next_identity = 1
        self._network, self._digest = network, digest
        self._disk = threading.RLock()  # the connection; taken before the next one, if both are
        self._lock = threading.Lock()  # what is waiting for the disk: never held while that works
        self._changes: dict[int, _Record | None] = {}
        self._pairs: list[Pair] = []
        self._forgotten: set[int] = set()
        self._unwiped = False
        """Whether the log beside the file may hold what was erased."""
        self._seen_request = 0
        self._reserved, self._try_again = 0, 0.0
        self._stop = threading.Event()
        self._ownership = Ownership(path)
        self._writer: threading.Thread | None = None
        if not owner and not (path.is_file() and path.stat().st_size):
            raise StoreError(f"there are no identities at {path}")
        if owner:
            self._ownership.take()
        try:
            self._db = self._open()
        except BaseException:
            self._ownership.release()
            raise
        if owner:
            self._writer = threading.Thread(
                target=self._write_behind, args=(interval,), name="identity-store", daemon=True
            )
            self._writer.start()

    @property
    def unsaved(self) -> int:
        """Tracklets of which something is not on disk yet; after `close`, what the disk would not take."""
        with self._lock:
            return len(self._changes)

    def load(self) -> tuple[NDArray[np.void], FloatArray, list[str]]:
        """All tracklets: table (R,) of ROW, embeddings (R, E), and the cameras that the table indexes."""
        with self._disk, reading(self.path):
            cameras = [c for (c,) in self._db.execute("SELECT DISTINCT camera FROM tracklets")]
            index = {name: i for i, name in enumerate(cameras)}
            names = ", ".join(_COLUMNS)
            rows = self._db.execute(f"SELECT {names}, embedding FROM tracklets ORDER BY serial")
            records = rows.fetchall()
        table = np.zeros(len(records), ROW)
        size = self.size or 0
        if any(len(record[-1]) != 4 * size for record in records):
            raise StoreError(f"{self.path} is damaged: an embedding is cut short")
        for i, name in enumerate(_COLUMNS):
            column = [record[i] for record in records]
            table[name] = [index[c] for c in column] if name == "camera" else column
        looks = np.frombuffer(b"".join(record[-1] for record in records), "<f4")
        return table, looks.reshape(len(records), size).astype(np.float32), cameras

    def measured_by(self, rulers: Mapping[str, int]) -> None:
        """Forget how tall people are by floors that are measured otherwise now. The owner says so before it loads."""
        if not self._ownership.held:
            return
        with self._disk, reading(self.path), self._db as db:
            before = dict(db.execute("SELECT camera, ruler FROM rulers").fetchall())
            other = [(camera,) for camera, ruler in rulers.items() if before.get(camera) != ruler]
            db.executemany("UPDATE tracklets SET measured = 0 WHERE camera = ?", other)
            db.executemany("INSERT OR REPLACE INTO rulers VALUES (?, ?)", rulers.items())

    def adopt(self, size: int) -> None:
        """Say how long embeddings are, where the file does not know yet."""
        self.size = size

    def put(self, table: NDArray[np.void], looks: FloatArray, cameras: Sequence[str]) -> None:
        """Rows to be written soon, copied here."""
        if not len(table):
            return
        columns = [table[name].tolist() for name in _COLUMNS]
        columns[2] = [cameras[i] for i in columns[2]]
        blobs = [look.tobytes() for look in looks.astype("<f4", copy=False)]
        with self._lock:
            self._changes.update(zip(columns[0], zip(*columns, blobs, strict=True), strict=True))

    def delete(self, serials: IntArray) -> None:
        """Rows to be erased soon."""
        with self._lock:
            self._changes.update(dict.fromkeys(serials.tolist()))

    def merge(self, pairs: Sequence[Pair]) -> None:
        """Identities (old, new) that turned out to be one, to be written soon."""
        with self._lock:
            self._pairs += pairs

    def names(self, identity: int) -> set[int]:
        """An identity, and all that turned out to be the same person."""
        with self._disk, reading(self.path):
            if self._writer:
                self.flush()
            return all_names(self._db, [identity])

    def knows(self, identity: int) -> bool:
        """Whether the file holds anything of it, by whatever name."""
        query, names = "SELECT 1 FROM tracklets WHERE identity = ?", self.names(identity)
        with self._disk, reading(self.path):
            return any(self._db.execute(query, (name,)).fetchone() for name in names)

    def reserve(self, next_identity: int) -> None:
        """Make sure that numbers below `next_identity` are never given again. Mostly costs nothing."""
        self.next_identity = next_identity
        now = time.monotonic()
        if next_identity <= self._reserved or now < self._try_again:
            return
        reserved = next_identity + _BLOCK
        try:
            with self._disk, self._db:
                self._db.execute("UPDATE numbers SET next_identity = ?", (reserved,))
        except sqlite3.Error as error:
            self._failed(error)
            self._try_again = time.monotonic() + _PAUSE
        else:
            self._reserved = reserved

    def forget(self, identity: int) -> bool:
        """Erase an identity, by all its `names`, from the file, now, and tell a live run to do so.

        False if unknown.
        """
        try:
            with self._disk:
                names = self.names(identity)
                with self._db:
                    erased = self._erase(names)
                    self._db.execute("INSERT INTO forgotten (identity) VALUES (?)", (identity,))
                with self._lock:
                    waiting = _drop(self._changes, names)
                if not self._wipe():
                    raise StoreError(
                        f"identity {identity} is erased from {self.path}, but stays in the log beside it as "
                        "long as somebody reads that file: repeat this then"
                    )
        except sqlite3.Error as error:
            raise StoreError(
                f"identity {identity} could not be erased from {self.path}: {error}"
            ) from None
        return erased + waiting > 0

    def forgotten(self) -> set[int]:
        """Identities that were to be forgotten since the last call, by whichever process, by all their names."""
        if not self._forgotten:
            return set()
        self.flush()  # by whatever name somebody is known since the request
        with self._disk:
            answer, self._forgotten = self._forgotten, set()
        return answer

    def flush(self) -> None:
        """Write everything now. A failure is counted and logged, not raised: the loop goes on."""
        with self._disk:
            with self._lock:
                changes, self._changes = self._changes, {}
                pairs, self._pairs = self._pairs, []
            try:
                with self._db:
                    self._write(changes, pairs)
                self._unwiped |= bool(self._forgotten) or None in changes.values()
                self._unwiped = self._unwiped and not self._wipe()
            except sqlite3.Error as error:
                with self._lock:
                    self._changes = changes | self._changes
                    self._pairs = (pairs + self._pairs)[-MOST:]
                self._failed(error)

    def close(self) -> None:
        """Write, and give the file back. Safe to call twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._writer:
            self._writer.join()
            self.flush()
        with self._disk:
            if self._writer:
                with contextlib.suppress(sqlite3.Error), self._db:
                    self._db.execute("UPDATE numbers SET next_identity = ?", (self.next_identity,))
            self._db.close()
            self._ownership.release()

    def _open(self) -> sqlite3.Connection:
        db = open_file(self._ownership)
        try:
            with reading(self.path):
                self.next_identity = self._reserved = next_number(db)
            asked = Network(self._network, self.size, self._digest)
            self.size = check_network(db, self._ownership, asked)
        except BaseException:
            db.close()
            raise
        return db

    def _write_behind(self, interval: float) -> None:
        while not self._stop.wait(interval):
            self.flush()

    def _write(self, changes: dict[int, _Record | None], pairs: Sequence[Pair]) -> None:
        """One transaction's worth. Takes note first of whom another process asked to forget, by all their names."""
        query = "SELECT request, identity FROM forgotten WHERE request > ?"
        idle = not (changes or pairs or self._forgotten)
        if idle and not self._db.execute(query, (self._seen_request,)).fetchone():
            return
        self._db.execute("BEGIN IMMEDIATE")  # so that no request slips in between
        if pairs:
            write_pairs(self._db, pairs)
        for request, identity in self._db.execute(query, (self._seen_request,)).fetchall():
            self._seen_request = max(request, self._seen_request)
            self._forgotten.add(identity)
        if self._forgotten:
            self._forgotten = all_names(self._db, self._forgotten)
            _drop(changes, self._forgotten)
            self._erase(self._forgotten)
        if self.size is not None:
            self._db.execute(
                "INSERT INTO network SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM network)",
                (self._network or "", self.size, self._digest or ""),
            )
        gone = [(serial,) for serial, record in changes.items() if record is None]
        self._db.executemany("DELETE FROM tracklets WHERE serial = ?", gone)
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        records = [record for record in changes.values() if record is not None]
        names = ", ".join((*_COLUMNS, "embedding"))
        self._db.executemany(
            f"INSERT OR REPLACE INTO tracklets ({names}) VALUES ({marks})", records
        )

    def _erase(self, identities: Iterable[int]) -> int:
        some = [(identity,) for identity in identities]
        return self._db.executemany("DELETE FROM tracklets WHERE identity = ?", some).rowcount

    def _wipe(self) -> bool:
        """What was erased must not survive in the log beside the file. False where somebody reads it."""
        (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def _failed(self, error: sqlite3.Error) -> None:
        if self.failures == 0:
            _log.error(
                "identities cannot be saved to %s (%s): going on in memory", self.path, error
            )
        self.failures += 1


def _drop(changes: dict[int, _Record | None], identities: set[int]) -> int:
    """Turn waiting rows of some identities into erasures."""
    serials = [s for s, record in changes.items() if record and record[1] in identities]
    changes.update(dict.fromkeys(serials))
    return len(serials)
