"""A calibration set: a folder of pictures of people with a last day, after which it is deleted.

set.json        what it is: from which cameras, when, how many, and until when it may exist
crops/          <person>/<person>C<camera>T0001F<frame>.jpg, the MARS layout; a person is a track of one camera
frames/         <camera>/<number>.jpg, whole pictures, for detectors

Whoever opens a set deletes it first if its day is over; nothing but such a folder is ever deleted.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from calibration.errors import CalibrationError, StorageError, UsageError

NAME, FORMAT = "set.json", 1
CROPS, FRAMES = "crops", "frames"


@dataclass(frozen=True, slots=True)
class Person:
    """One track of one camera, of which there are crops."""

    number: int
    """Names its folder."""
    camera: int
    """From 1."""
    hour: int
    """Of the day, UTC, when the first crop was taken."""
    height: int
    """In pixels of the frame, of the first crop."""
    crops: int

    @property
    def stem(self) -> str:
        """Of its crops' names, up to the frame's number."""
        return f"{self.number:04d}C{self.camera}T0001F"


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """What `set.json` says."""

    created: str
    expires: str
    """ISO 8601, UTC."""
    detector: str
    cameras: tuple[str, ...]
    """In the order of their numbers in the crops' names, from 1."""
    frames: Mapping[str, int] = field(default_factory=dict)
    """By camera."""
    people: tuple["Person", ...] = ()
    pauses: Mapping[str, float] = field(default_factory=dict)
    """By camera, seconds between two frames by now: the longer the more there were to choose from."""
    contents: str = "pictures of people, unblurred: keep it on this machine"
    format: int = FORMAT

    def expired(self, now: datetime) -> bool:
        day = datetime.fromisoformat(self.expires)
        return now >= (day if day.tzinfo else day.replace(tzinfo=UTC))


def check_set(path: Path, now: datetime | None = None) -> CalibrationSet | None:
    """What the set at `path` says; None where the folder is no such set. One past its day is deleted: `UsageError`."""
    found = read_set(path)
    if found is not None and found.expired(now or datetime.now(UTC)):
        delete(path)
        raise UsageError(
            f"the calibration set {path} was kept until {found.expires}, and was deleted just now: collect anew"
        )
    return found


def read_set(path: Path) -> CalibrationSet | None:
    """Without a look at its date."""
    file = path / NAME
    if not file.is_file():
        return None
    try:
        raw = json.loads(file.read_text())
        if raw["format"] != FORMAT:
            raise UsageError(
                f"{file} is of format {raw['format']}, and this version reads {FORMAT}"
            )
        datetime.fromisoformat(raw["expires"])
        people = tuple(Person(**person) for person in raw["people"])
        return CalibrationSet(**raw | {"cameras": tuple(raw["cameras"]), "people": people})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} does not describe a calibration set ({error})") from error


def write_set(path: Path, content: CalibrationSet) -> None:
    """Whole or not at all."""
    part = path / f".{NAME}.part"
    try:
        part.write_text(json.dumps(asdict(content), indent=2) + "\n")
        part.replace(path / NAME)
    except OSError as error:
        raise StorageError(f"cannot write {path / NAME}: {error.strerror}") from error


def purge(root: Path, now: datetime | None = None) -> list[Path]:
    """Delete every set at or below `root` whose day is over. Answers which. One that is damaged spares no other."""
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}")
    now, gone, problems = now or datetime.now(UTC), [], []
    for file in sorted(root.rglob(NAME)):
        try:
            found = read_set(file.parent)
            if found is not None and found.expired(now):
                delete(file.parent)
                gone.append(file.parent)
        except CalibrationError as problem:
            problems.append(str(problem))
    if problems:
        also = f" ({len(gone)} others were deleted)" if gone else ""
        raise UsageError(f"not every set could be looked at{also}: {'; '.join(problems)}")
    return gone


def delete(path: Path) -> None:
    """What a set consists of, and nothing that somebody else put beside it. Its description goes last."""
    try:
        for name in (CROPS, FRAMES):
            if (path / name).is_dir():
                shutil.rmtree(path / name)
        (path / NAME).unlink()
        if not any(path.iterdir()):
            path.rmdir()
    except OSError as error:
        raise StorageError(f"cannot delete {path}, whose day is over: {error.strerror}") from error
