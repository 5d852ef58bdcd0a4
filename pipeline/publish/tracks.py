"""Tracks as MOT text with global identities, one file a camera.

A row is written when its tracklet's identity is known, so that the first second of a person carries the same
number as the rest. Until then rows wait, a bounded number of them a tracklet.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from pipeline.frames import EventKind, IdentityEvent
from pipeline.publish.erase import erase_rows
from pipeline.publish.lines import Lines
from pipeline.publish.sink import Sighting

Key: TypeAlias = tuple[str, int]
_MOST_WAITING = 1000
"""Frames of a camera for which rows can wait."""


class TrackFiles:
    """`tracks/<camera>.txt`: frame from 1, identity, left, top, width, height, score, -1, -1, -1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, Lines] = {}
        self._waiting: dict[Key, deque[tuple[int, str]]] = defaultdict(deque)
        self._taken: dict[str, dict[int, set[int]]] = defaultdict(dict)
        """Identities that each recent frame of a camera has a row of: nobody is in one picture twice."""
        self.unnamed = 0
        """Rows left out: nobody could say who it was, or that somebody is in the picture already."""

    def sighting(self, sighting: Sighting) -> None:
        camera, tracks = sighting.frame.camera, sighting.tracks
        self._file(camera)  # a camera that saw nobody leaves an empty file, not none
        number = sighting.frame.index + 1
        recent = self._taken[camera]
        recent[number] = set()
        if len(recent) > _MOST_WAITING:
            del recent[next(iter(recent))]
        sizes = tracks.boxes[:, 2:] - tracks.boxes[:, :2]
        for local, identity, box, size, score in zip(
            tracks.ids.tolist(),
            sighting.identities.tolist(),
            tracks.boxes.tolist(),
            sizes.tolist(),
            tracks.scores.tolist(),
            strict=True,
        ):
            rest = f"{box[0]:.1f},{box[1]:.1f},{size[0]:.1f},{size[1]:.1f},{score:.3f},-1,-1,-1\n"
            if identity:
                self._release((camera, local), identity)
                self._write(camera, number, identity, rest)
            else:
                waiting = self._waiting[camera, local]
                waiting.append((number, rest))
                if waiting[0][0] not in recent:
                    waiting.popleft()
                    self.unnamed += 1

    def events(self, events: Sequence[IdentityEvent]) -> None:
        for event in events:
            if event.kind is EventKind.FORGOTTEN:
                self._erase(event.identity)
            self._release((event.camera, event.local_id), event.identity)

    def ended(self, tracklets: Sequence[Key]) -> None:
        for key in tracklets:
            self.unnamed += len(self._waiting.pop(key, ()))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _release(self, key: Key, identity: int) -> None:
        for number, rest in self._waiting.pop(key, ()):
            self._write(key[0], number, identity, rest)

    def _write(self, camera: str, number: int, identity: int, rest: str) -> None:
        taken = self._taken[camera].get(number)
        if taken is None or identity in taken:
            self.unnamed += 1
            return
        taken.add(identity)
        self._file(camera).write(f"{number},{identity},{rest}")

    def _erase(self, identity: int) -> None:
        for camera, file in self._files.items():
            file.close()
            erase_rows(file.path, identity)
            self._files[camera] = Lines(file.path, anew=False)

    def _file(self, camera: str) -> Lines:
        if camera not in self._files:
            self._files[camera] = Lines(self._folder / f"{camera}.txt")
        return self._files[camera]
