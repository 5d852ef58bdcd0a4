"""The gallery on disk: one SQLite file, written behind the live loop's back.

A writer thread commits twice a second what changed since, so that kill -9 loses less than a second.
Numbers of identities are reserved in blocks before they are given out: one that was ever published
is not given again, even if the second in which that happened is lost. There are no pictures in it.
"""

import contextlib
import fcntl
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError, StoreInUse
from pipeline.frames import FloatArray, IntArray
from pipeline.identify.gallery import ROW
from pipeline.identify.merged import MOST, TABLE, Pair, all_names, write_pairs

_log = logging.getLogger(__name__)

_APPLICATION = 0x7468726C  # "thrl", in the file's header
_SCHEMA = 4
_BLOCK = 256
_TURNS = 20
"""Tenths of a second that visits wait for one another where a file is to be upgraded."""
_PAUSE = 5.0
"""Seconds until a reservation that failed is tried again: the loop waits for it."""
_NEXT = """
SELECT max(
    (SELECT next_identity FROM numbers),
    1 + coalesce((SELECT max(identity) FROM tracklets), 0),
    1 + coalesce((SELECT max(max(old), max(new)) FROM merged), 0)
)"""
_RULERS = "CREATE TABLE rulers (camera TEXT PRIMARY KEY, ruler INTEGER NOT NULL);"
_TABLES = f"""
CREATE TABLE network (
    name TEXT NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL DEFAULT ''
);
CREATE TABLE numbers (next_identity INTEGER NOT NULL);
CREATE TABLE tracklets (
    serial INTEGER PRIMARY KEY, identity INTEGER NOT NULL, camera TEXT NOT NULL,
    local_id INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL, since REAL NOT NULL,
    frames INTEGER NOT NULL, judged INTEGER NOT NULL, confidence REAL NOT NULL, score REAL NOT NULL,
    stature REAL NOT NULL, measured INTEGER NOT NULL, embedding BLOB NOT NULL
);
CREATE INDEX tracklets_of_identity ON tracklets (identity);
CREATE TABLE forgotten (request INTEGER PRIMARY KEY AUTOINCREMENT, identity INTEGER NOT NULL);
INSERT INTO numbers VALUES (1);
{_RULERS}
{TABLE}"""
_UPGRADES = (
    "ALTER TABLE network ADD COLUMN digest TEXT NOT NULL DEFAULT '';",
    TABLE,
    "ALTER TABLE tracklets ADD COLUMN stature REAL NOT NULL DEFAULT 0;"
    f"ALTER TABLE tracklets ADD COLUMN measured INTEGER NOT NULL DEFAULT 0; {_RULERS}",
)
"""What makes of each schema the next one."""
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
        self._guard: IO[str] | None = None
        self._writer: threading.Thread | None = None
        if not owner and not (path.is_file() and path.stat().st_size):
            raise StoreError(f"there are no identities at {path}")
        if owner:
            self._claim()
        try:
            self._db = self._open()
        except BaseException:
            self._release()
            raise
        self._reserved = self.next_identity
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
        with self._disk, self._reading():
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
        if not self._guard:
            return
        with self._disk, self._reading(), self._db as db:
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
        with self._disk, self._reading():
            if self._writer:
                self.flush()
            return all_names(self._db, [identity])

    def knows(self, identity: int) -> bool:
        """Whether the file holds anything of it, by whatever name."""
        query, names = "SELECT 1 FROM tracklets WHERE identity = ?", self.names(identity)
        with self._disk, self._reading():
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
            self._release()

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

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, check_same_thread=False, timeout=5.0)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from None
        self._db = db
        try:
            with self._reading():
                self._check_file(db)
            self._check_network(db)
        except BaseException:
            db.close()
            raise
        return db

    def _check_file(self, db: sqlite3.Connection) -> None:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and tables:
            raise StoreError(
                f"{self.path} is a database, but not one of identities: choose another"
            )
        if schema > _SCHEMA:
            raise StoreError(
                f"{self.path} was written by a newer version (schema {schema}, this one knows "
                f"{_SCHEMA}): update, or choose another file"
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        if not tables:
            db.executescript(
                f"BEGIN; PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA};"
                f"{_TABLES} COMMIT;"
            )
        elif schema < _SCHEMA:
            self._upgrade(db)
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(
                f"{self.path} is damaged ({verdict}): restore it or choose another file"
            )
        # A disk that was full may have kept a block from being reserved.
        (self.next_identity,) = db.execute(_NEXT).fetchone()
        if self._guard:  # nothing is in memory yet, so there is nothing left to forget
            with db:
                db.execute("DELETE FROM forgotten")

    def _upgrade(self, db: sqlite3.Connection) -> None:
        """Alone: a live run of the version that wrote the file could not write into a newer one."""
        visit = self._guard is None
        if visit:
            self._claim_in_turn()
        try:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            steps = "".join(_UPGRADES[schema - 1 :])
            db.executescript(f"BEGIN; {steps} PRAGMA user_version = {_SCHEMA}; COMMIT;")
        finally:
            if visit:
                self._release()

    def _check_network(self, db: sqlite3.Connection) -> None:
        """Embeddings of other weights cannot be compared, even if the networks share name and size."""
        found = db.execute("SELECT name, size, digest FROM network").fetchone()
        if found is None:
            return
        name, size, digest = found
        wanted = (self._network or name, self.size or size, self._digest or digest)
        if wanted[:2] != (name, size):
            raise StoreError(
                f"{self.path} holds embeddings of the network '{name}' with {size} values, which "
                f"cannot be compared with those of '{wanted[0]}' with {wanted[1]}: choose another file"
            )
        if digest and wanted[2] != digest:
            raise StoreError(
                f"{self.path} holds embeddings of other weights of '{name}' ({digest[:12]}, not "
                f"{wanted[2][:12]}), which cannot be compared: choose another file, or those weights"
            )
        self.size = size
        if self._guard and wanted[2] != digest:  # a file of before weights were noted
            with db:
                db.execute("UPDATE network SET digest = ?", (wanted[2],))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path} is not a file of identities, or is damaged: {error}"
            ) from None

    def _claim(self) -> None:
        """Be the only owner. The kernel takes the claim back when the process dies, however it dies."""
        path = self.path.with_name(self.path.name + ".owner")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = path.open("w")
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise StoreInUse(f"{self.path} is in use by another live run") from None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from None

    def _claim_in_turn(self) -> None:
        """Wait for others who want to upgrade the file too, but not for a run that goes on."""
        for attempt in range(_TURNS):
            try:
                return self._claim()
            except StoreInUse:
                if attempt == _TURNS - 1:
                    raise StoreError(
                        f"{self.path} is in use by a live run of an older version: end that first"
                    ) from None
                time.sleep(0.1)

    def _release(self) -> None:
        if self._guard:
            self._guard.close()
            self._guard = None


def _drop(changes: dict[int, _Record | None], identities: set[int]) -> int:
    """Turn waiting rows of some identities into erasures."""
    serials = [s for s, record in changes.items() if record and record[1] in identities]
    changes.update(dict.fromkeys(serials))
    return len(serials)
