"""Which crops are worth the network's time, and the embeddings that come of them.

The network costs far more than looking: so every tracked person is looked at in every frame, and only crops that
show something new are embedded, the best first, within a budget a tick. A person who has none yet comes first.
"""

import logging
from collections import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.streaming import StreamingReid
from pipeline.continuity import Continuity, Known
from pipeline.errors import SettingsError
from pipeline.footing import WALK, Footing, grown, take
from pipeline.frames import FloatArray, Frame, IntArray, Path, TrackletUpdate, Tracks
from pipeline.ground import FloorMap
from pipeline.identify.similarity import Mapping
from pipeline.pixels import Image, Pixels
from pipeline.quality import quality, sharpness, warm_up

Seen: TypeAlias = tuple[Frame, Tracks]
Floors: TypeAlias = abc.Mapping[str, FloorMap]
Rows: TypeAlias = NDArray[Any]
"""A structured array."""

_BLURRED = 0.25
"""What a wholly blurred crop is worth beside a sharp one: it is taken after four times the spacing only."""
_log = logging.getLogger(__name__)

_SILENCE = 1.0
"""Seconds that one tick can add to a camera's silence, at most: another camera's clock may leap."""
_RARE, _LOOKS = 10.0, 2.5
"""A camera that is looked at less often than every so many seconds follows nobody; of one that is looked at rarely,
so many looks may pass."""
_CAMERA_STRIDE = 1 << 40
"""Local ids are below this, so that camera and id make one sortable number."""


@dataclass(frozen=True, slots=True)
class TrackletSettings:
    """Times in seconds, sizes in pixels."""

    budget: int = 16
    """Crops that are embedded in one tick, at most."""
    spacing: float = 0.25
    """Between a tracklet's first crops: neighbouring frames show the same."""
    spacing_later: float = 1.0
    """Between crops once a tracklet is well known…"""
    well_known: int = 16
    """…which it is after so many."""
    least_height: int = 32
    """Smaller people are not embedded."""
    least_quality: float = 0.25
    full_height: float = 110.0
    """From here on a larger picture is no better."""
    end_after: float = 2.0
    """A track unseen for this long is over. Longer than the tracker's patience."""
    repeat: float = 0.5
    """Who is in sight and has no new crop is reported anew after this time: nobody is in two places at once."""
    confident: float = 8.0
    """Crops after which an embedding carries a full judgement."""
    newest: int = 3
    """Crops that are held against all before them…"""
    changed: float = 2.0
    """…and who speaks against one person by more nats than this ends the tracklet: it passed to somebody else."""

    def __post_init__(self) -> None:
        if self.newest < 1:
            raise SettingsError(f"newest is a number of crops, 1 or more, not {self.newest}")


@dataclass(frozen=True, slots=True)
class TrackletCounts:
    """What has happened so far."""

    open: int
    embedded: int
    refused: int
    """Tracklets that found no free slot when they first had a crop worth embedding."""


_ROW = np.dtype(
    [
        ("key", np.int64),
        ("slot", np.int64),
        ("since", np.float64),
        ("seen", np.float64),
        ("embedded", np.float64),
        ("told", np.float64),
        ("crops", np.int64),
        ("refused", np.bool_),
        ("changed", np.bool_),
        ("walk", WALK),
    ]
)


class Tracklets:
    """All cameras' tracklets: looks at who is tracked, embeds what is worth it, closes what is over."""

    def __init__(
        self,
        pool: StreamingReid,
        cameras: Sequence[str],
        settings: TrackletSettings | None = None,
        floors: Floors | None = None,
        mapping: Mapping | None = None,
    ) -> None:
        """`mapping`: what similarity means with this embedder."""
        self._pool, self._cameras, self._footing = pool, list(cameras), Footing(floors or {})
        self._settings = settings or TrackletSettings()
        self._index = {camera: i for i, camera in enumerate(self._cameras)}
        self._rows = np.empty(0, _ROW)
        """Sorted by key."""
        self._crops = np.empty((self._settings.budget, *pool.crop_size, 3), np.uint8)
        self._continuity = Continuity(
            pool.counts.capacity,
            pool.embedding_size,
            replace(mapping or Mapping(), young=0.0),  # the newest crops are of no young tracklet
            self._settings.newest,
            self._settings.changed,
        )
        self._embedded = self._refused = 0
        self._times = np.full(len(self._cameras), -np.inf)
        """The latest capture time of each camera…"""
        self._heard = np.zeros(len(self._cameras))
        """…and when it came, by `_elapsed`."""
        self._steps = np.full((2, len(self._cameras)), np.inf)
        """Between its last pictures, the newer step first: a single gap is no rhythm."""
        self._elapsed, self._now = 0.0, np.inf
        warm_up()

    @property
    def counts(self) -> TrackletCounts:
        return TrackletCounts(int((self._rows["slot"] >= 0).sum()), self._embedded, self._refused)

    def update(
        self, seen: Sequence[Seen], now: float, budget: int | None = None
    ) -> tuple[list[TrackletUpdate], list[tuple[str, int]]]:
        """One tick: what was learned of whom, and the tracklets that ended (camera, local id).

        `budget`: fewer crops than the settings allow.
        """
        self._elapsed += min(max(now - self._now, 0.0), _SILENCE)
        self._now = now if np.isinf(self._now) else max(now, self._now)
        for frame, tracks in seen:
            self._hear(frame)
            self._note(frame, tracks)
        most = self._settings.budget
        self._embed(seen, most if budget is None else min(budget, most))
        updates = self._tell()
        return updates, self._end(self._unseen() | self._rows["changed"])

    def end_all(self) -> list[tuple[str, int]]:
        """Close everything: the run is over."""
        return self._end(np.ones(len(self._rows), np.bool_))

    # ---- who is there ---------------------------------------------------------------------------

    def _keys(self, frame: Frame, tracks: Tracks) -> IntArray:
        return self._index[frame.camera] * _CAMERA_STRIDE + tracks.ids

    def _note(self, frame: Frame, tracks: Tracks) -> None:
        keys, time = self._keys(frame, tracks), frame.time
        known = self._rows["key"]
        at = np.searchsorted(known, keys).astype(np.int64)
        new = keys[np.append(known, -1)[at] != keys]
        if len(new):
            rows = np.zeros(len(new), _ROW)
            rows["key"], rows["slot"], rows["since"] = new, -1, time
            rows["embedded"] = rows["told"] = -np.inf
            self._rows = np.sort(np.concatenate([self._rows, rows]), order="key")
            at = np.searchsorted(self._rows["key"], keys).astype(np.int64)
        self._rows["seen"][at] = time
        self._footing.note(
            self._rows["walk"], at, frame.camera, tracks.boxes, frame.pixels.size, time
        )

    def _hear(self, frame: Frame) -> None:
        """Note a camera's time. One that goes back takes its tracklets along, or they would wait for it."""
        camera = self._index[frame.camera]
        back = self._times[camera] - frame.time
        if back > 0:
            _log.warning(
                "the clock of %s went back by %.1f s: its people are followed on",
                frame.camera,
                back,
            )
            rows = self._rows["key"] // _CAMERA_STRIDE == camera
            for name in ("since", "seen", "embedded", "told"):
                self._rows[name][rows] -= back
            slots = self._rows["slot"][rows]
            self._continuity.shift(slots[slots >= 0], back)
        if -_RARE <= back <= 0:
            self._steps[:, camera] = -back, self._steps[0, camera]
        self._times[camera], self._heard[camera] = frame.time, self._elapsed

    def _unseen(self) -> NDArray[np.bool_]:
        """Who is out of sight for too long, by his own camera's clock, which runs on while that is silent."""
        now = self._times + (self._elapsed - self._heard)
        step = self._steps.min(axis=0)
        step[np.isinf(step)] = 0.0
        patience = np.maximum(self._settings.end_after, _LOOKS * step)
        camera = self._rows["key"] // _CAMERA_STRIDE
        over: NDArray[np.bool_] = now[camera] - self._rows["seen"] > patience[camera]
        return over

    def _end(self, over: NDArray[np.bool_]) -> list[tuple[str, int]]:
        if not over.any():
            return []
        gone = self._rows[over]
        for slot in gone["slot"][gone["slot"] >= 0].tolist():
            self._pool.close(slot)
        self._rows = self._rows[~over]
        return [
            (self._cameras[key // _CAMERA_STRIDE], key % _CAMERA_STRIDE)
            for key in gone["key"].tolist()
        ]

    # ---- what is worth embedding ------------------------------------------------------------------

    def _embed(self, seen: Sequence[Seen], budget: int) -> None:
        ready = self._choose(seen)[:budget]
        if not len(ready):
            return
        places = ready["row"]
        self._open_slots(places)
        for n, candidate in enumerate(ready):
            frame = seen[candidate["frame"]][0]
            self._cut(frame.pixels, candidate["box"], self._crops[n])
        slots = self._rows["slot"][places]
        embeddings = self._pool.step(slots, self._crops[: len(ready)])
        self._embedded += len(ready)
        self._rows["embedded"][places] = ready["time"]
        sound = np.isfinite(embeddings).all(axis=1)
        crops = self._rows["crops"][places] = self._pool.frames_seen(slots)
        self._rows["told"][places] = -np.inf
        self._rows["changed"][places[sound]] = self._continuity.note(
            slots[sound],
            embeddings[sound],
            crops[sound],
            ready["time"][sound],
            grown(self._rows["walk"][places[sound]]),
        )

    def _tell(self) -> list[TrackletUpdate]:
        """What is new, and every half second who is still there."""
        rows, settings = self._rows, self._settings
        due = (rows["crops"] > 0) & (rows["seen"] - rows["told"] >= settings.repeat)
        self._rows["told"][due] = rows["seen"][due]
        return [
            self._back_to_before(row) if row["changed"] else self._learned(row, place)
            for place, row in zip(np.flatnonzero(due).tolist(), rows[due], strict=True)
        ]

    def _learned(self, row: np.void, place: int) -> TrackletUpdate:
        known = self._continuity.now(row["slot"])
        path = take(self._rows["walk"], place)
        return self._update(row, replace(known, time=float(row["seen"])), path=path)

    def _back_to_before(self, row: np.void) -> TrackletUpdate:
        return self._update(row, self._continuity.before(row["slot"]), takes_back=True)

    def _update(
        self, row: np.void, known: Known, path: Path | None = None, takes_back: bool = False
    ) -> TrackletUpdate:
        return TrackletUpdate(
            camera=self._cameras[row["key"] // _CAMERA_STRIDE],
            local_id=int(row["key"] % _CAMERA_STRIDE),
            time=known.time,
            embedding=known.embedding,
            frames_seen=known.frames,
            confidence=min(1.0, known.frames / max(self._settings.confident, 1.0)),
            since=float(row["since"]),
            path=path,
            takes_back=takes_back,
        )

    def _choose(self, seen: Sequence[Seen]) -> Rows:
        """The candidates of this tick that are worth most, the newest tracklets first."""
        settings = self._settings
        found = [
            self._candidates(i, frame, tracks)
            for i, (frame, tracks) in enumerate(seen)
            if len(tracks)
        ]
        if not found:
            return np.empty(0, _CANDIDATE)
        candidates = np.concatenate(found)
        # Column by column: rows are long.
        rows, place = self._rows, candidates["row"]
        crops, embedded = rows["crops"][place], rows["embedded"][place]
        spacing = np.where(crops < settings.well_known, settings.spacing, settings.spacing_later)
        passed = candidates["time"] - embedded
        due = np.flatnonzero(
            (passed >= spacing)
            & (candidates["quality"] >= settings.least_quality)
            & (candidates["height"] >= settings.least_height)
        )
        sharp = _BLURRED + (1 - _BLURRED) * self._sharpness(seen, candidates[due])
        candidates["quality"][due] *= sharp
        due = due[passed[due] * sharp >= spacing[due]]
        candidates, crops, embedded = candidates[due], crops[due], embedded[due]
        waited = candidates["time"] - np.maximum(embedded, rows["since"][candidates["row"]])
        known = np.minimum(crops, settings.well_known)  # or old ones starve among young
        worth = candidates["quality"] * (settings.spacing + waited) / (1.0 + known)
        order = np.lexsort((-worth, np.isfinite(embedded)))
        best: Rows = self._seated(candidates[order])
        return best

    def _seated(self, candidates: Rows) -> Rows:
        """Those that have a slot or can get one: who cannot takes no place in the budget from others."""
        places = candidates["row"]
        newcomers = self._rows["slot"][places] < 0
        counts = self._pool.counts
        late = newcomers & (np.cumsum(newcomers) > counts.capacity - counts.open)
        self._refused += int((~self._rows["refused"][places[late]]).sum())
        self._rows["refused"][places[late]] = True
        seated: Rows = candidates[~late]
        return seated

    def _candidates(self, index: int, frame: Frame, tracks: Tracks) -> Rows:
        candidates = np.zeros(len(tracks), _CANDIDATE)
        candidates["frame"], candidates["time"] = index, frame.time
        candidates["row"] = np.searchsorted(self._rows["key"], self._keys(frame, tracks))
        width, height = frame.pixels.size
        boxes = np.clip(tracks.boxes, 0, np.array([width, height] * 2, np.float32))
        candidates["box"], candidates["height"] = boxes, boxes[:, 3] - boxes[:, 1]
        candidates["quality"] = quality(
            boxes, tracks.scores, (width, height), self._settings.full_height
        )
        return candidates

    @staticmethod
    def _sharpness(seen: Sequence[Seen], candidates: Rows) -> FloatArray:
        """(N,) of those that are due, a camera at a time: looking costs more than all else here."""
        sharp = np.zeros(len(candidates), np.float32)
        for index in np.unique(candidates["frame"]).tolist():
            here = candidates["frame"] == index
            sharp[here] = sharpness(seen[index][0].pixels.luma(), candidates["box"][here])
        return sharp

    def _open_slots(self, places: IntArray) -> None:
        for place in places[self._rows["slot"][places] < 0].tolist():
            self._rows["slot"][place] = self._pool.open()

    @staticmethod
    def _cut(pixels: Pixels, box: FloatArray, into: Image) -> None:
        part = pixels.part(*box[:2].astype(int).tolist(), *np.ceil(box[2:]).astype(int).tolist())
        shrinks = part.shape[0] > into.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(part, (into.shape[1], into.shape[0]), dst=into, interpolation=how)


_CANDIDATE = np.dtype(
    [
        ("row", np.int64),
        ("frame", np.int64),
        ("time", np.float64),
        ("quality", np.float32),
        ("height", np.float32),
        ("box", np.float32, 4),
    ]
)
