"""The file of identities itself: its schema, who owns it, and whether its embeddings are of the same network."""

import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pipeline.errors import StoreError, StoreInUse
from pipeline.identify.merged import TABLE

_APPLICATION = 0x7468726C  # "thrl", in the file's header
_SCHEMA = 4
_TURNS = 20
"""Tenths of a second that visits wait for one another where a file is to be upgraded."""
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


class Network(NamedTuple):
    """Whose embeddings a file holds; None is any, or not known yet."""

    name: str | None
    size: int | None
    """Values of an embedding."""
    digest: str | None
    """Hash of the weights: it tells apart networks of one name."""


class Ownership:
    """Of one file, by one live run. The kernel takes it back when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this process is the owner."""
        return self._guard is not None

    def take(self) -> None:
        """Be the only owner, or raise `StoreInUse`."""
        path = self.path.with_name(self.path.name + ".owner")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = path.open("w")
            fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise StoreInUse(f"{self.path} is in use by another live run") from None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from None

    def take_in_turn(self) -> None:
        """Wait for others who want to upgrade the file too, but not for a run that goes on."""
        for attempt in range(_TURNS):
            try:
                return self.take()
            except StoreInUse:
                if attempt == _TURNS - 1:
                    raise StoreError(
                        f"{self.path} is in use by a live run of an older version: end that first"
                    ) from None
                time.sleep(0.1)

    def release(self) -> None:
        """Give it back, if held."""
        if self._guard:
            self._guard.close()
            self._guard = None


def open_file(ownership: Ownership) -> sqlite3.Connection:
    """A connection to a file of this schema: a new one, one that is there, or one brought up to date."""
    path = ownership.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be opened: {error}") from None
    try:
        with reading(path):
            _check_file(db, ownership)
    except BaseException:
        db.close()
        raise
    return db


def next_number(db: sqlite3.Connection) -> int:
    """The first number that nobody has. A disk that was full may have kept a block from being reserved."""
    (number,) = db.execute(_NEXT).fetchone()
    return int(number)


def check_network(db: sqlite3.Connection, ownership: Ownership, asked: Network) -> int | None:
    """The size of embeddings in the file, None if it has none yet.

    Embeddings of other weights cannot be compared, even if the networks share name and size.
    """
    row = db.execute("SELECT name, size, digest FROM network").fetchone()
    if row is None:
        return asked.size
    path, found = ownership.path, Network(*row)
    wanted = Network(
        asked.name or found.name, asked.size or found.size, asked.digest or found.digest
    )
    if wanted[:2] != found[:2]:
        raise StoreError(
            f"{path} holds embeddings of the network '{found.name}' with {found.size} values, which "
            f"cannot be compared with those of '{wanted.name}' with {wanted.size}: choose another file"
        )
    if found.digest and wanted.digest != found.digest:
        raise StoreError(
            f"{path} holds embeddings of other weights of '{found.name}' ({found.digest[:12]}, not "
            f"{str(wanted.digest)[:12]}), which cannot be compared: choose another file, or those weights"
        )
    if ownership.held and wanted.digest != found.digest:  # a file of before weights were noted
        with db:
            db.execute("UPDATE network SET digest = ?", (wanted.digest,))
    return found.size


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """What the database says of a broken file, in our words."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # those of Python itself have none
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise StoreError(f"{path} cannot be written, which is needed to read it too") from None
        raise StoreError(f"{path} is not a file of identities, or is damaged: {error}") from None


def _check_file(db: sqlite3.Connection, ownership: Ownership) -> None:
    path = ownership.path
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION and tables:
        raise StoreError(f"{path} is a database, but not one of identities: choose another")
    if schema > _SCHEMA:
        raise StoreError(
            f"{path} was written by a newer version (schema {schema}, this one knows "
            f"{_SCHEMA}): update, or choose another file"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # a power cut must not give a number out again
    db.execute("PRAGMA secure_delete = ON")
    if not tables:
        db.executescript(
            f"BEGIN; PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA};"
            f"{_TABLES} COMMIT;"
        )
    elif schema < _SCHEMA:
        _upgrade(db, ownership)
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(f"{path} is damaged ({verdict}): restore it or choose another file")
    if ownership.held:  # nothing is in memory yet, so there is nothing left to forget
        with db:
            db.execute("DELETE FROM forgotten")


def _upgrade(db: sqlite3.Connection, ownership: Ownership) -> None:
    """Alone: a live run of the version that wrote the file could not write into a newer one."""
    visit = not ownership.held
    if visit:
        ownership.take_in_turn()
    try:
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        steps = "".join(_UPGRADES[schema - 1 :])
        db.executescript(f"BEGIN; {steps} PRAGMA user_version = {_SCHEMA}; COMMIT;")
    finally:
        if visit:
            ownership.release()
