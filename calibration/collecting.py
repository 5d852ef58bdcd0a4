"""Chooses, from what cameras show, the few pictures that a calibration set keeps, and keeps them balanced.

Frames are spread over each camera's time: whenever there are too many, every other one is deleted and the pause
between them doubled. People are spread over cells of camera, hour and size: whenever there are too many, one of
the fullest cell makes room for one of an emptier cell. So the set is bounded and fair at every moment, however
long it is collected.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TypeAlias

import cv2
import numpy as np

from calibration.errors import StorageError
from calibration.sets import CROPS, FRAMES, CalibrationSet, Person, write_set
from pipeline.frames import FloatArray, Frame, Tracks
from pipeline.pixels import Image
from pipeline.quality import quality

Cell: TypeAlias = tuple[int, int, int]
"""Camera, hour, class of size."""
HEIGHTS = (96, 192)
"""Pixels between the classes of size: small, middling, large."""
CROPS_EACH = 9
"""Of a person at most: one more than a segment of a stream."""
SPACING = 0.25
"""Seconds between two crops of a person."""
FIRST_PAUSE = 1.0
"""Seconds between two frames of a camera, to begin with."""
LEAST_HEIGHT, LEAST_QUALITY, FULL_HEIGHT = 48, 0.2, 160.0
_MARGIN = 2
"""A cell must be so many people emptier before it takes room from another."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


class Collection:
    """A set that is being filled. `note` after every frame, `save` now and then."""

    def __init__(self, folder: Path, content: CalibrationSet, frames: int, crops: int) -> None:
        """`folder` may hold an earlier part of the set, which `content` describes. At most so many are kept."""
        self._folder, self._content = folder, content
        self._cameras = {name: number for number, name in enumerate(content.cameras, start=1)}
        self._most_frames = max(1, frames // len(content.cameras)) if frames else 0
        self._most_people = crops // CROPS_EACH
        self._people = {person.number: person for person in content.people}
        self._open: dict[tuple[str, int], tuple[int, float]] = {}
        """By camera and local id: person, and when the latest crop was taken."""
        self._refused: set[tuple[str, int]] = set()
        self._frames = {name: self._numbers(name) for name in content.cameras}
        self._pause = {name: content.pauses.get(name, FIRST_PAUSE) for name in content.cameras}
        self._latest = dict.fromkeys(content.cameras, float("-inf"))
        self._next = 1 + max(self._people, default=0)
        self._random = Random(0)
        self._forget_unlisted()

    @property
    def counts(self) -> Mapping[str, tuple[int, int]]:
        """By camera: frames and crops."""
        crops: Counter[int] = Counter()
        for person in self._people.values():
            crops[person.camera] += person.crops
        return {name: (len(self._frames[name]), crops[n]) for name, n in self._cameras.items()}

    @property
    def full(self) -> bool:
        """Whether each camera has its frames, and people theirs: not all stay for all of their crops."""
        frames = all(2 * len(found) > self._most_frames for found in self._frames.values())
        crops = sum(person.crops for person in self._people.values())
        return (frames or not self._most_frames) and 2 * crops >= self._most_people * CROPS_EACH

    @property
    def content(self) -> CalibrationSet:
        return replace(
            self._content,
            frames={name: len(found) for name, found in self._frames.items()},
            people=tuple(person for _, person in sorted(self._people.items())),
            pauses=dict(self._pause),
        )

    def save(self) -> None:
        write_set(self._folder, self.content)

    def note(self, frame: Frame, tracks: Tracks) -> None:
        """Keep of one frame what is worth keeping."""
        self._note_frame(frame)
        if self._most_people:
            self._note_people(frame, tracks)

    # ---- frames ---------------------------------------------------------------------------------

    def _note_frame(self, frame: Frame) -> None:
        camera = frame.camera
        due = frame.time - self._latest[camera] >= self._pause[camera]
        if not self._most_frames or not due:
            return
        self._latest[camera] = frame.time
        numbers = self._frames[camera]
        number = 1 + max(numbers, default=0)
        self._write(self._frame_path(camera, number), frame.image)
        numbers.append(number)
        if len(numbers) > self._most_frames:
            for other in numbers[1::2]:
                self._frame_path(camera, other).unlink(missing_ok=True)
            self._frames[camera] = numbers[::2]
            self._pause[camera] *= 2

    def _frame_path(self, camera: str, number: int) -> Path:
        return self._folder / FRAMES / camera / f"{number:06d}.jpg"

    def _numbers(self, camera: str) -> list[int]:
        home = self._folder / FRAMES / camera
        return sorted(int(path.stem) for path in home.glob("*.jpg") if path.stem.isdigit())

    # ---- people ---------------------------------------------------------------------------------

    def _note_people(self, frame: Frame, tracks: Tracks) -> None:
        height, width = frame.image.shape[:2]
        boxes = np.clip(tracks.boxes, 0, np.array([width, height] * 2, np.float32))
        worth = quality(boxes, tracks.scores, (width, height), FULL_HEIGHT) >= LEAST_QUALITY
        worth &= boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT
        for index in np.flatnonzero(worth).tolist():
            self._note_person(frame, int(tracks.ids[index]), boxes[index])

    def _note_person(self, frame: Frame, local_id: int, box: FloatArray) -> None:
        key = frame.camera, local_id
        if key in self._refused:
            return
        number, latest = self._open.get(key, (None, float("-inf")))
        if number is None:
            number = self._admit(key, frame, box)
        person = self._people.get(number) if number is not None else None
        if number is None or person is None:  # no room, or it made room for another since
            self._refused.add(key)
            return
        if frame.time - latest < SPACING or person.crops >= CROPS_EACH:
            return
        (left, top), (right, bottom) = box[:2].astype(int), np.ceil(box[2:]).astype(int)
        name = f"{person.stem}{person.crops + 1:03d}.jpg"
        self._write(self._home(number) / name, frame.image[top:bottom, left:right])
        self._people[number] = replace(person, crops=person.crops + 1)
        self._open[key] = number, frame.time

    def _admit(self, key: tuple[str, int], frame: Frame, box: FloatArray) -> int | None:
        """The number of a new person, if there is or can be made room."""
        hour = datetime.fromtimestamp(frame.time, UTC).hour
        height = int(box[3] - box[1])
        person = Person(self._next, self._cameras[frame.camera], hour, height, 0)
        if len(self._people) >= self._most_people and not self._make_room(cell_of(person)):
            return None
        self._people[self._next] = person
        self._open[key] = self._next, float("-inf")
        self._next += 1
        return person.number

    def _make_room(self, cell: Cell) -> bool:
        sizes = Counter(cell_of(person) for person in self._people.values())
        fullest, most = max(sizes.items(), key=lambda item: (item[1], item[0]))
        if most < sizes[cell] + _MARGIN:
            return False
        members = [n for n, person in self._people.items() if cell_of(person) == fullest]
        gone = self._random.choice(members)
        shutil.rmtree(self._home(gone), ignore_errors=True)
        del self._people[gone]
        return True

    def _home(self, number: int) -> Path:
        return self._folder / CROPS / f"{number:04d}"

    def _forget_unlisted(self) -> None:
        """A collection that was killed may have left crops of people that its description does not know."""
        for home in (self._folder / CROPS).glob("*"):
            if not home.name.isdigit() or int(home.name) not in self._people:
                shutil.rmtree(home, ignore_errors=True)
        for number, person in self._people.items():
            for path in self._home(number).glob("*.jpg"):
                if int(path.stem.rpartition("F")[2]) > person.crops:
                    path.unlink(missing_ok=True)

    def _write(self, path: Path, image: Image) -> None:
        _, encoded = cv2.imencode(".jpg", image, _JPEG)
        part = path.with_suffix(".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(encoded.tobytes())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"cannot write {path}: {error.strerror}") from error


def cell_of(person: Person) -> Cell:
    return person.camera, person.hour, int(np.searchsorted(HEIGHTS, person.height, side="right"))


def by_class(people: Sequence[Person]) -> Mapping[str, int]:
    """Crops of small, middling and large people."""
    names = (
        f"below {HEIGHTS[0]} px",
        f"{HEIGHTS[0]}–{HEIGHTS[1] - 1} px",
        f"from {HEIGHTS[1]} px",
    )
    counts = dict.fromkeys(names, 0)
    for person in people:
        counts[names[cell_of(person)[2]]] += person.crops
    return counts
