"""The file of a record: its tables, and who leaves it when. `record.db` in a run's folder, over all runs into it.

    about      format, network, and the hash of its weights
    cameras    number, name, width and height of its pictures
    tracklets  number, run, camera, local id, identity (0 while nobody knows), noted (seconds since the epoch)
    boxes      tracklet, time, frame (index from 0), left, top, right, bottom, score
    looks      tracklet, time, frames seen, since, embedding as the network gave it (float16)

What is deleted is overwritten, in the file and in the log beside it. It may be done while a run records.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import OutputError

NAME = "record.db"
FORMAT = 2
APPLICATION = 0x7468726D  # "thrm", in the file's header
KEEP = 14 * 86400.0
"""Seconds for which a tracklet is kept, from when it was first noted."""
_PATIENCE = 5.0
"""Seconds to wait for another process that is writing."""
_TABLES = """
CREATE TABLE about (format INTEGER NOT NULL, network TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE cameras (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL
);
CREATE TABLE tracklets (
    number INTEGER PRIMARY KEY, run INTEGER NOT NULL, camera INTEGER NOT NULL, local_id INTEGER NOT NULL,
    identity INTEGER NOT NULL DEFAULT 0, noted REAL NOT NULL, UNIQUE (run, camera, local_id)
);
CREATE INDEX tracklets_of_identity ON tracklets (identity);
CREATE TABLE boxes (
    tracklet INTEGER NOT NULL, time REAL NOT NULL, frame INTEGER NOT NULL,
    x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL, score REAL NOT NULL
);
CREATE INDEX boxes_of_tracklet ON boxes (tracklet);
CREATE TABLE looks (
    tracklet INTEGER NOT NULL, time REAL NOT NULL, frames INTEGER NOT NULL, since REAL NOT NULL,
    embedding BLOB NOT NULL
);
CREATE INDEX looks_of_tracklet ON looks (tracklet);
"""


def open_record(path: Path, network: str, digest: str) -> sqlite3.Connection:
    """A record to go on with, or a new one. One of another network is refused."""
    with _one_sentence(path, "cannot be recorded into"):
        db = _connect(path)
        try:
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                db.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION}; {_TABLES} COMMIT;")
            if not tables or _is_new(db):
                with db:
                    db.execute("INSERT INTO about VALUES (?, ?, ?)", (FORMAT, network, digest))
            _check(db, network, digest)
            db.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            db.close()
            raise
    return db


def erase_person(path: Path, identities: Iterable[int]) -> int:
    """Take somebody, by all their identities, out of a record, if there is one; answers how many rows that were."""
    if not path.is_file():
        return 0
    numbers = ", ".join(map(str, sorted(identities)))
    with _one_sentence(path, f"may still hold identity {numbers}"), _opened(path) as db:
        rows = delete_person(db, identities)
        if not wipe(db):
            raise OutputError(
                f"{path} is being read: what was of identity {numbers} stays in its log meanwhile"
            )
        return rows


def erase_expired(path: Path, now: float | None = None) -> bool:
    """Take out of a record what is past its day, if there is one. True if that was all of it."""
    if not path.is_file():
        return False
    with _one_sentence(path, "cannot be rid of what is past its day"), _opened(path) as db:
        if not delete_expired(db, time.time() if now is None else now):
            return False
        wipe(db)
        left = db.execute("SELECT 1 FROM tracklets").fetchone()
        if not left:
            with suppress(sqlite3.OperationalError):  # a run is recording into it
                db.execute("VACUUM")
        return not left


def delete_person(db: sqlite3.Connection, identities: Iterable[int]) -> int:
    """As `erase_person`, from an open record. Its log holds them until it is wiped."""
    some = json.dumps([*identities])
    return _delete(db, "identity IN (SELECT value FROM json_each(?))", some)


def delete_expired(db: sqlite3.Connection, now: float) -> int:
    """As `erase_expired`, from an open record; answers how many rows that were."""
    return _delete(db, "noted < ?", now - KEEP)


def _delete(db: sqlite3.Connection, which: str, value: float | str) -> int:
    some = f"SELECT number FROM tracklets WHERE {which}"
    if not db.execute(some, (value,)).fetchone():  # then it need not be one that can be written
        return 0
    with db:
        rows = sum(
            db.execute(f"DELETE FROM {table} WHERE tracklet IN ({some})", (value,)).rowcount
            for table in ("boxes", "looks")
        )
        db.execute(f"DELETE FROM tracklets WHERE {which}", (value,))
    return rows


def wipe(db: sqlite3.Connection) -> bool:
    """Take what was deleted out of the log as well. False where somebody who reads prevents it."""
    (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def be_patient(db: sqlite3.Connection, seconds: float = _PATIENCE) -> None:
    """For so long a connection waits for others who are writing."""
    db.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
    db.execute("PRAGMA secure_delete = ON")
    return db


def _is_new(db: sqlite3.Connection) -> bool:
    """Whether whoever made it was killed before he could say for which network."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    return application == APPLICATION and not db.execute("SELECT 1 FROM about").fetchone()


def _check(db: sqlite3.Connection, *weights: str) -> None:
    """That it is a record, and of these weights (network, digest) if there are any."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise ValueError("it is a database, but not a record of a run")
    (form,) = db.execute("SELECT format FROM about").fetchone()
    if form != FORMAT:
        raise ValueError(f"it is of format {form}, this version knows {FORMAT}")
    found = db.execute("SELECT network, digest FROM about").fetchone()
    if weights and found != weights:
        raise ValueError(f"its embeddings are of other weights, of '{found[0]}'")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    db = _connect(path)
    try:
        _check(db)
        yield db
    finally:
        db.close()


@contextmanager
def _one_sentence(path: Path, trouble: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"{path} {trouble}: {error}") from error
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise OutputError(f"{path} {trouble}: {error}; delete it or move it away") from error
