"""Numbers that turned out to be one person's, in the file of identities: who forgets one forgets them all.

A pair says that whoever was called `old` is called `new`. Files of earlier runs go on naming both, so a pair outlives
the tracklets of either, and a request to forget can be repeated. It holds nothing else, and the oldest go first.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]

MOST = 100_000
"""Pairs that are kept: some 4 MB."""
TABLE = """
CREATE TABLE merged (old INTEGER NOT NULL, new INTEGER NOT NULL);
CREATE INDEX merged_by_old ON merged (old);
CREATE INDEX merged_by_new ON merged (new);
"""
_WITH = """
WITH some AS (SELECT value FROM json_each(?))
SELECT new FROM merged WHERE old IN some UNION SELECT old FROM merged WHERE new IN some
"""


def write_pairs(db: sqlite3.Connection, pairs: Sequence[Pair]) -> None:
    db.executemany("INSERT INTO merged VALUES (?, ?)", pairs)
    db.execute("DELETE FROM merged WHERE rowid <= (SELECT max(rowid) FROM merged) - ?", (MOST,))


def all_names(db: sqlite3.Connection, identities: Iterable[int]) -> set[int]:
    """These identities, and all that are the same people."""
    found: set[int] = set()
    fresh = set(identities)
    while fresh:
        found |= fresh
        fresh = {name for (name,) in db.execute(_WITH, (json.dumps([*fresh]),))} - found
    return found
