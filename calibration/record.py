"""A recording of running data, as `run_pipeline.py --record` leaves it: see pipeline/publish/record_file.py."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calibration.errors import RecordError
from pipeline.errors import OutputError
from pipeline.frames import FloatArray, IntArray
from pipeline.publish.record_file import APPLICATION, FORMAT, NAME, erase_expired

Rows: TypeAlias = NDArray[Any]
"""A structured array."""
_APART = 3600.0
"""Seconds to put between two runs that overlap in time, as films do: nobody walks from one into the other."""

TRACKLET = np.dtype(
    [
        ("run", np.int64),  # of those that were recorded one after the other
        ("camera", np.int32),  # indexes Record.cameras
        ("local_id", np.int64),
        ("first", np.float64),  # seconds since the epoch
        ("last", np.float64),
        ("frames", np.int64),  # that its last embedding is made of; 0: it has none
    ]
)
BOX = np.dtype(
    [
        ("tracklet", np.int64),  # indexes Record.tracklets
        ("camera", np.int32),
        ("time", np.float64),
        ("frame", np.int64),  # index in the camera's stream, from 0
        ("box", np.float32, 4),  # left, top, right, bottom in pixels
        ("score", np.float32),
    ]
)
LOOK = np.dtype([("tracklet", np.int64), ("time", np.float64), ("frames", np.int64)])


@dataclass(frozen=True, slots=True)
class Record:
    """Who was where, and how they looked to the network."""

    path: Path
    network: str
    cameras: tuple[str, ...]
    sizes: IntArray
    """(C, 2) width and height of each camera's pictures."""
    tracklets: Rows
    """(T,) of TRACKLET, sorted by run, camera and local id. No two runs overlap in time."""
    boxes: Rows
    """(B,) of BOX, sorted by tracklet and time; some five a second."""
    looks: Rows
    """(L,) of LOOK, sorted by tracklet and frames: 1, 2, 4, 8… and the last."""
    embeddings: FloatArray
    """(L, E) float32 as the network gave them, running means over the frames: not normalised."""

    @property
    def seconds(self) -> float:
        """From the first sight of anybody in a run to the last, over all runs."""
        tracklets = self.tracklets
        spans = [_span(tracklets[tracklets["run"] == run]) for run in np.unique(tracklets["run"])]
        return float(sum(last - first for first, last in spans))

    def feet(self) -> FloatArray:
        """(B, 2) the middle of each box's lower edge, in pixels."""
        box = self.boxes["box"]
        feet: FloatArray = np.column_stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]])
        return feet

    def amount(self) -> str:
        """How much it is, in words."""
        people = f"{len(self.tracklets)} tracklets in {len(self.cameras)} cameras"
        return f"{people}, {self.seconds / 60:.1f} minutes"


def read_record(path: Path) -> Record:
    """Read a record, by its file or by its run's folder. One past its date is erased and not read."""
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise RecordError(f"there is no record at {path}: run `run_pipeline.py --record …` first")
    try:
        if erase_expired(path):
            raise RecordError(f"{path} was past its date and is erased: record anew")
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return _read(path, db)
    except OutputError as error:
        raise RecordError(str(error)) from error
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise RecordError(f"{path} is not a record, or is damaged: {error}") from error


def _read(path: Path, db: sqlite3.Connection) -> Record:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise RecordError(f"{path} is a database, but not a record of a run")
    db.execute("BEGIN")  # all of it as of one moment, should a run be recording
    form, network = db.execute("SELECT format, network FROM about").fetchone()
    if form != FORMAT:
        raise RecordError(
            f"{path} is a record of format {form}, this version reads {FORMAT}: record anew"
        )
    cameras = db.execute("SELECT name, width, height FROM cameras ORDER BY number").fetchall()
    people = _table(db, "run, camera, local_id, number", "tracklets", "run, camera, local_id")
    boxes = _table(db, "tracklet, time, frame, x0, y0, x1, y1, score", "boxes")
    looks = _table(db, "tracklet, time, frames, since", "looks")
    blobs = [blob for (blob,) in db.execute("SELECT embedding FROM looks ORDER BY rowid")]
    if len({len(blob) for blob in blobs}) > 1:
        raise RecordError(f"{path} is damaged: an embedding is cut short")
    embeddings = np.frombuffer(b"".join(blobs), "<f2").astype(np.float32)
    embeddings = embeddings.reshape(len(blobs), -1 if blobs else 0)

    kept = np.isin(people[:, 3], np.concatenate([boxes[:, 0], looks[:, 0]]))
    people = people[kept]
    box_of, look_of = _places(people[:, 3], boxes[:, 0]), _places(people[:, 3], looks[:, 0])
    tracklets = _tracklets(people, boxes, box_of, looks, look_of)
    later = _set_apart(tracklets)
    in_order = np.lexsort((boxes[:, 1], box_of))
    boxes, box_of = boxes[in_order], box_of[in_order]
    in_turn = np.lexsort((looks[:, 2], look_of))
    looks, look_of = looks[in_turn], look_of[in_turn]
    return Record(
        path=path,
        network=network,
        cameras=tuple(name for name, _, _ in cameras),
        sizes=np.array([row[1:] for row in cameras], np.int64).reshape(-1, 2),
        tracklets=tracklets,
        boxes=_filled(
            BOX,
            tracklet=box_of,
            camera=people[box_of, 1],
            time=boxes[:, 1] + later[box_of],
            frame=boxes[:, 2],
            box=boxes[:, 3:7],
            score=boxes[:, 7],
        ),
        looks=_filled(
            LOOK, tracklet=look_of, time=looks[:, 1] + later[look_of], frames=looks[:, 2]
        ),
        embeddings=embeddings[in_turn],
    )


def _table(
    db: sqlite3.Connection, columns: str, table: str, order: str = "rowid"
) -> NDArray[np.float64]:
    rows = db.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()
    return np.array(rows, np.float64).reshape(len(rows), columns.count(",") + 1)


def _places(numbers: NDArray[np.float64], of: NDArray[np.float64]) -> IntArray:
    """Where among the tracklets' `numbers` each row's is."""
    order = np.argsort(numbers)
    places: IntArray = order[np.searchsorted(numbers, of, sorter=order)]
    return places


def _tracklets(
    people: NDArray[np.float64],
    boxes: NDArray[np.float64],
    box_of: IntArray,
    looks: NDArray[np.float64],
    look_of: IntArray,
) -> Rows:
    tracklets = _filled(TRACKLET, run=people[:, 0], camera=people[:, 1], local_id=people[:, 2])
    tracklets["first"], tracklets["last"] = np.inf, -np.inf
    for rows, times in ((box_of, boxes[:, 1]), (look_of, looks[:, 1]), (look_of, looks[:, 3])):
        np.minimum.at(tracklets["first"], rows, times)
        np.maximum.at(tracklets["last"], rows, times)
    np.maximum.at(tracklets["frames"], look_of, looks[:, 2].astype(np.int64))
    return tracklets


def _set_apart(tracklets: Rows) -> NDArray[np.float64]:
    """Move runs that began before the one before them had ended; answers (T,) by how many seconds."""
    later, end = np.zeros(len(tracklets)), -np.inf
    for run in np.unique(tracklets["run"]):
        mine = tracklets["run"] == run
        first, last = _span(tracklets[mine])
        moved = end + _APART - first if first < end else 0.0
        later[mine], end = moved, last + moved
    tracklets["first"] += later
    tracklets["last"] += later
    return later


def _span(tracklets: Rows) -> tuple[float, float]:
    return float(tracklets["first"].min()), float(tracklets["last"].max())


def _filled(kind: np.dtype[np.void], **columns: NDArray[Any]) -> Rows:
    rows = np.zeros(len(next(iter(columns.values()))), kind)
    for name, values in columns.items():
        rows[name] = values
    return rows
