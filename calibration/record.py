"""A recording of running data, as `run_pipeline.py --record` leaves it: see pipeline/publish/record.py."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calibration.errors import RecordError
from pipeline.frames import FloatArray, IntArray
from pipeline.publish.record import APPLICATION, FORMAT, erase_if_expired

Rows: TypeAlias = NDArray[Any]
"""A structured array."""
NAME = "record.db"

TRACKLET = np.dtype(
    [
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
    """(T,) of TRACKLET, sorted by camera and local id."""
    boxes: Rows
    """(B,) of BOX, sorted by tracklet and time; some five a second."""
    looks: Rows
    """(L,) of LOOK, sorted by tracklet and frames: 1, 2, 4, 8… and the last."""
    embeddings: FloatArray
    """(L, E) float32 as the network gave them, running means over the frames: not normalised."""

    @property
    def seconds(self) -> float:
        """From the first sight of anybody to the last."""
        tracklets = self.tracklets
        return float(tracklets["last"].max() - tracklets["first"].min()) if len(tracklets) else 0.0

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
    if erase_if_expired(path):
        raise RecordError(f"{path} was past its date and is erased: record anew")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return _read(path, db)
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise RecordError(f"{path} is not a record, or is damaged: {error}") from error


def _read(path: Path, db: sqlite3.Connection) -> Record:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise RecordError(f"{path} is a database, but not a record of a run")
    form, network = db.execute("SELECT format, network FROM about").fetchone()
    if form != FORMAT:
        raise RecordError(
            f"{path} is a record of format {form}, this version reads {FORMAT}: record anew"
        )
    cameras = db.execute("SELECT name, width, height FROM cameras ORDER BY number").fetchall()
    boxes = _table(db, "camera, local_id, time, frame, x0, y0, x1, y1, score", "boxes", "time")
    looks = _table(db, "camera, local_id, time, frames, since", "looks", "frames")
    blobs = [
        blob
        for (blob,) in db.execute("SELECT embedding FROM looks ORDER BY camera, local_id, frames")
    ]
    if len({len(blob) for blob in blobs}) > 1:
        raise RecordError(f"{path} is damaged: an embedding is cut short")
    keys = np.unique(np.concatenate([boxes[:, :2], looks[:, :2]]), axis=0)
    box_of, look_of = _places(keys, boxes), _places(keys, looks)
    return Record(
        path=path,
        network=network,
        cameras=tuple(name for name, _, _ in cameras),
        sizes=np.array([row[1:] for row in cameras], np.int64).reshape(-1, 2),
        tracklets=_tracklets(keys, boxes, box_of, looks, look_of),
        boxes=_filled(
            BOX,
            tracklet=box_of,
            camera=boxes[:, 0],
            time=boxes[:, 2],
            frame=boxes[:, 3],
            box=boxes[:, 4:8],
            score=boxes[:, 8],
        ),
        looks=_filled(LOOK, tracklet=look_of, time=looks[:, 2], frames=looks[:, 3]),
        embeddings=np.frombuffer(b"".join(blobs), "<f2")
        .astype(np.float32)
        .reshape(len(blobs), -1 if blobs else 0),
    )


def _table(db: sqlite3.Connection, columns: str, table: str, last: str) -> NDArray[np.float64]:
    rows = db.execute(f"SELECT {columns} FROM {table} ORDER BY camera, local_id, {last}").fetchall()
    return np.array(rows, np.float64).reshape(len(rows), columns.count(",") + 1)


def _places(keys: NDArray[np.float64], rows: NDArray[np.float64]) -> IntArray:
    """Where in the sorted `keys` each row's camera and local id are."""
    stride = 1.0 + (keys[:, 1].max() if len(keys) else 0)
    return np.searchsorted(keys[:, 0] * stride + keys[:, 1], rows[:, 0] * stride + rows[:, 1])


def _tracklets(
    keys: NDArray[np.float64],
    boxes: NDArray[np.float64],
    box_of: IntArray,
    looks: NDArray[np.float64],
    look_of: IntArray,
) -> Rows:
    tracklets = _filled(TRACKLET, camera=keys[:, 0], local_id=keys[:, 1])
    tracklets["first"], tracklets["last"] = np.inf, -np.inf
    for rows, times in ((box_of, boxes[:, 2]), (look_of, looks[:, 2]), (look_of, looks[:, 4])):
        np.minimum.at(tracklets["first"], rows, times)
        np.maximum.at(tracklets["last"], rows, times)
    np.maximum.at(tracklets["frames"], look_of, looks[:, 3].astype(np.int64))
    return tracklets


def _filled(kind: np.dtype[np.void], **columns: NDArray[Any]) -> Rows:
    rows = np.zeros(len(next(iter(columns.values()))), kind)
    for name, values in columns.items():
        rows[name] = values
    return rows
