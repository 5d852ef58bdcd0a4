"""Tracks as MOT text with global identities, one file a camera.

The file of a camera is always as right as is known by now: its last frames stay in memory, and when a tracklet
gets its identity, or a correction gives it another one, the end of the file is written anew from where that
tracklet began. So the first second of a person carries the same number as the rest, and so do the doubtful boxes
that led up to him and on from him. Frames in which somebody was overlooked or hidden, before he was seen again, are
filled in between, with confidence 0, and so are those that nobody looked at because they were dropped.
"""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pipeline.frames import EventKind, FloatArray, IdentityEvent
from pipeline.publish.erase import erase_rows
from pipeline.publish.hindsight import Look, spare_of, warm_up, way
from pipeline.publish.lines import Lines
from pipeline.publish.sink import Passed, Sighting

Key: TypeAlias = tuple[str, int]
Box: TypeAlias = list[float]
_REACH = 1000
_MOST_ROWS = 20_000
"""Rows of a camera that stay in memory, however few frames that is."""
_FLUSH = 25
"""Frames of a camera after which its file is brought up to date: what kill -9 can cost."""
_PACE = 0.4
"""Seconds between two looks that tell somebody's pace."""
_NOBODY = np.empty((0, 5), np.float32)
_HIDDEN, _WALKED = 3.0, 3.0
"""Seconds out of sight that are filled in between, and heights of his box that somebody may have walked meanwhile."""


class TrackFiles:
    """`tracks/<camera>.txt`: frame from 1, identity, left, top, width, height, score, -1, -1, -1."""

    def __init__(self, folder: Path, reach: int = _REACH) -> None:
        """`reach`: the last frames of a camera whose rows may still get an identity, or another one."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._reach = folder, reach
        warm_up()
        self._cameras: dict[str, _Camera] = {}

    @property
    def unnamed(self) -> int:
        """Rows left out: nobody could say who it was, or that somebody is in the picture already."""
        return sum(camera.unnamed for camera in self._cameras.values())

    def sighting(self, sighting: Sighting) -> None:
        tracks, frame = sighting.tracks, sighting.frame
        camera = self._camera(frame.camera)  # one that saw nobody leaves an empty file, not none
        camera.see(
            _Frame(frame.index + 1, frame.time, spare_of(tracks)),
            tracks.ids.tolist(),
            sighting.identities.tolist(),
            tracks.boxes.tolist(),
            tracks.scores.tolist(),
        )

    def events(self, events: Sequence[IdentityEvent]) -> None:
        gone = {event.identity for event in events if event.kind is EventKind.FORGOTTEN}
        for camera in self._cameras.values() if gone else ():
            camera.forget(gone)
        for event in events:
            if event.kind is not EventKind.FORGOTTEN:
                self._camera(event.camera).name(event.local_id, event.identity)

    def passed(self, tracks: Sequence[Passed]) -> None:
        for track in tracks:
            self._camera(track.camera).part(track.local_id, track.since, track.goes_on_as)

    def ended(self, tracklets: Sequence[Key]) -> None:
        for name, local in tracklets:
            self._camera(name).end(local)

    def close(self) -> None:
        for camera in self._cameras.values():
            camera.close()

    def _camera(self, name: str) -> "_Camera":
        if name not in self._cameras:
            self._cameras[name] = _Camera(Lines(self._folder / f"{name}.txt"), self._reach)
        return self._cameras[name]


@dataclass(slots=True)
class _Frame:
    """Rows of one frame by local id, without their identities."""

    number: int
    time: float
    spare: FloatArray
    """(K, 5) boxes and scores of what may have been somebody."""
    rows: dict[int, str] = field(default_factory=dict)
    offset: int = -1
    """Where in the file it begins, if it is there."""


@dataclass(slots=True)
class _Tracklet:
    first: int
    """The frame in which it began."""
    last: int
    identity: int = 0
    over: bool = False


class _Camera:
    def __init__(self, file: Lines, reach: int) -> None:
        self.unnamed = 0
        self._file, self._reach = file, reach
        self._frames: dict[int, _Frame] = {}
        """The last ones, in their order."""
        self._tracklets: dict[int, _Tracklet] = {}
        """Those in `_frames`."""
        self._rows = self._unwritten = 0
        self._stale: float = math.inf
        """From this frame on the file is not as it should be."""

    def see(
        self,
        frame: _Frame,
        ids: list[int],
        identities: list[int],
        boxes: list[Box],
        scores: list[float],
    ) -> None:
        number = frame.number
        for dropped in self._dropped(frame):
            self._frames[dropped.number] = dropped
            self._stale = min(self._stale, dropped.number)
        self._frames[number] = frame
        self._stale = min(self._stale, number)
        for local, identity, box, score in zip(ids, identities, boxes, scores, strict=True):
            frame.rows[local] = _text(box, score)
            known = self._tracklets.setdefault(local, _Tracklet(number, number))
            if identity:
                self.name(local, identity)
            self._stale = min(self._stale, known.last + 1)  # he may have been hidden since
            if number > known.last + 1:
                self._trace(local, number, known.last)
            known.last = number
        self._rows += len(frame.rows) + len(frame.spare)
        while len(self._frames) > self._reach or (
            self._rows > _MOST_ROWS and len(self._frames) > 1
        ):
            self._settle()
        self._unwritten += 1
        if self._unwritten >= _FLUSH:
            self._write()

    def _dropped(self, frame: _Frame) -> Iterator[_Frame]:
        """The frames since the last one, without anybody in them: people may have walked on meanwhile."""
        last = next(reversed(self._frames.values()), frame)
        took, steps = frame.time - last.time, frame.number - last.number
        if 0 < took <= _HIDDEN and steps <= self._reach:
            for number in range(last.number + 1, frame.number):
                time = last.time + took * (number - last.number) / steps
                yield _Frame(number, time, _NOBODY)

    def name(self, local: int, identity: int) -> None:
        known = self._tracklets.get(local)
        if known is not None and known.identity != identity:
            if not known.identity:
                self._trace(local, known.first, -math.inf)
            known.identity = identity
            since = (frame.number for frame in self._since(known.first))
            self._stale = min([self._stale, *since])

    def part(self, local: int, since: float, goes_on_as: int) -> None:
        """From `since` on it was somebody else, who has no name yet."""
        shown = [frame for frame in self._frames.values() if local in frame.rows]
        late = [*takewhile(lambda frame: frame.time > since, reversed(shown))]
        if not late:
            return
        first = late[-1].number
        last = max((frame.number for frame in shown if frame.number < first), default=-1)
        for frame in late:
            frame.rows[goes_on_as] = frame.rows.pop(local)
        known = self._tracklets[local]
        self._tracklets[goes_on_as] = replace(known, first=first, identity=0, over=False)
        known.last = last
        # What was filled in between led from one person to the other.
        self._stale = min(self._stale, last + 1)

    def end(self, local: int) -> None:
        known = self._tracklets.get(local)
        if known is not None:
            known.over = True
            if known.identity:
                self._trace(local, known.last, math.inf)
            if known.last not in self._frames:
                del self._tracklets[local]

    def _trace(self, local: int, since: int, until: float) -> None:
        """Give somebody the spare boxes on his way from a frame that shows him towards another one."""
        start, known = self._frames.get(since), self._tracklets[local]
        if start is None or local not in start.rows:
            return
        second = self._second(local, start, until)
        first = Look(start.time, _box(start.rows[local]))
        for frame, which in way(first, second, self._between(since, until)):
            *box, score = frame.spare[which].tolist()
            frame.spare = np.delete(frame.spare, which, axis=0)
            frame.rows[local] = _text(box, score)
            known.first, known.last = min(known.first, frame.number), max(known.last, frame.number)
            self._stale = min(self._stale, frame.number)

    def _second(self, local: int, start: _Frame, until: float) -> Look | None:
        """Another look at him that tells his pace: where he went to, or else where he came from."""
        if math.isfinite(until):
            near = [self._frames[int(until)]] if until in self._frames else []
        else:
            away = self._between(start.number, -until)
            near = [*takewhile(lambda frame: abs(frame.time - start.time) <= _PACE, away)]
        looks = [frame for frame in near if local in frame.rows]
        return Look(looks[-1].time, _box(looks[-1].rows[local])) if looks else None

    def _between(self, since: int, until: float) -> list[_Frame]:
        """The frames strictly between two, from one towards the other."""
        first, last = sorted((since, until))
        late = takewhile(lambda frame: frame.number > first, reversed(self._frames.values()))
        between = [frame for frame in late if frame.number < last]
        return between if until < since else between[::-1]

    def forget(self, identities: Set[int]) -> None:
        gone = {local for local, known in self._tracklets.items() if known.identity in identities}
        for frame in self._frames.values():
            before = len(frame.rows)
            for local in gone:
                frame.rows.pop(local, None)
            self._rows -= before - len(frame.rows)
        for local in gone:
            del self._tracklets[local]
        self._stale = next(iter(self._frames), math.inf)
        self._file.cut(self._kept())
        self._file.close()
        erase_rows(self._file.path, identities)
        self._file = Lines(self._file.path, anew=False)
        for frame in self._frames.values():
            frame.offset = -1

    def close(self) -> None:
        self._write()
        while self._frames:
            self._settle()
        self._file.close()

    def _settle(self) -> None:
        """Let the oldest frame go: from now on it stays as it is."""
        number = next(iter(self._frames))
        if number >= self._stale:
            self._write()
        frame = self._frames.pop(number)
        self._rows -= len(frame.rows) + len(frame.spare)
        named = {self._tracklets[local].identity for local in frame.rows} - {0}
        self.unnamed += len(frame.rows) - len(named)
        for local in frame.rows:
            known = self._tracklets[local]
            known.first = max(known.first, number + 1)
            if known.last == number:  # should it be seen again, it is known anew
                del self._tracklets[local]

    def _write(self) -> None:
        """Bring the file up to date, from the first frame on that is not."""
        kept = place = self._kept()
        frames = self._since(self._stale)
        shown = [self._shown(frame) for frame in frames]
        hidden = self._hidden(frames, shown)
        texts = []
        for frame, rows in zip(frames, shown, strict=True):
            if frame.number >= self._stale:
                frame.offset = place
                every = hidden.get(frame.number, {}) | rows
                text = "".join([f"{frame.number},{name},{row}" for name, row in every.items()])
                texts.append(text)
                place += len(text)
        # Together: whoever kills the run between them takes all of these frames with him.
        self._file.cut(kept)
        self._file.write("".join(texts))
        self._file.flush()
        self._stale, self._unwritten = math.inf, 0

    def _kept(self) -> int:
        """Bytes of the file that are not to be written anew."""
        offsets = (f.offset for f in self._frames.values() if f.number >= self._stale)
        first = next(offsets, -1)
        return first if first >= 0 else self._file.size

    def _shown(self, frame: _Frame) -> dict[int, str]:
        """Rows of a frame by identity: nobody is in a picture twice."""
        found: dict[int, str] = {}
        for local, text in frame.rows.items():
            if identity := self._tracklets[local].identity:
                found.setdefault(identity, text)
        return found

    def _hidden(
        self, frames: Sequence[_Frame], shown: Sequence[dict[int, str]]
    ) -> dict[int, dict[int, str]]:
        """Rows by identity of those who were out of sight between two looks, by frame."""
        rows: dict[int, dict[int, str]] = {}
        seen: dict[int, tuple[_Frame, str]] = {}
        for frame, found in zip(frames, shown, strict=True):
            for identity, text in found.items():
                before = seen.get(identity)
                if before is not None and before[0].number + 1 < frame.number:
                    for number, box in self._way(*before, frame, text):
                        rows.setdefault(number, {})[identity] = _text(box, 0.0)
                seen[identity] = frame, text
        return rows

    def _since(self, number: float) -> list[_Frame]:
        """The frames from that one on, and those before it since which somebody in it may have been hidden."""
        near, time = [], math.inf
        for frame in reversed(self._frames.values()):
            time = frame.time if frame.number >= number else time
            if frame.number < number and frame.time < time - _HIDDEN:
                break
            near.append(frame)
        return near[::-1]

    def _way(
        self, went: _Frame, before: str, came: _Frame, after: str
    ) -> Iterator[tuple[int, Box]]:
        """The frames between two looks at somebody, with his box in each: on a straight line."""
        took = came.time - went.time
        if not 0 < took <= _HIDDEN:
            return
        a, b = _box(before), _box(after)
        walked = math.dist((a[0] + a[2], a[1] + a[3]), (b[0] + b[2], b[1] + b[3])) / 2
        if walked > _WALKED * max(a[3] - a[1], b[3] - b[1]):
            return
        for number in range(went.number + 1, came.number):
            if number in self._frames:
                share = (self._frames[number].time - went.time) / took
                yield number, [x + share * (y - x) for x, y in zip(a, b, strict=True)]


def _box(text: str) -> Box:
    left, top, width, height = map(float, text.split(",")[:4])
    return [left, top, left + width, top + height]


def _text(box: Box, score: float) -> str:
    left, top, right, bottom = box
    return f"{left:.1f},{top:.1f},{right - left:.1f},{bottom - top:.1f},{score:.3f},-1,-1,-1\n"
