"""Erases identities from what a run has written. Files are replaced whole: a kill leaves the old or the new one."""

import json
import os
import re
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import OutputError
from pipeline.frames import EventKind
from pipeline.publish.record_file import NAME as RECORD
from pipeline.publish.record_file import erase_person

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out of a folder, and what is left in it."""

    events: int
    rows: int
    """Of tracks."""
    recorded: int
    """Boxes and embeddings that were kept for calibration."""
    videos: tuple[Path, ...]
    """They show everybody as they are: pictures cannot be rewritten."""
    failures: tuple[str, ...]
    """Files that may still hold something, each with the reason."""

    def __bool__(self) -> bool:
        return self.events + self.rows + self.recorded > 0


def erase(folder: Path, identities: Set[int], *, live: bool = False) -> Erased:
    """Take identities out of all that is in a run's folder. What cannot be rewritten stops nothing else.

    `live`: a run is writing there, and should have taken it out of its own files. The record can be shared.
    """
    tracks = sorted((folder / "tracks").glob("*.txt"))
    failures: list[str] = []

    def taken(erase_from: Callable[[Path, Set[int]], int], *paths: Path) -> int:
        count = 0
        for path in paths:
            try:
                count += erase_from(path, identities)
            except OutputError as error:
                failures.append(str(error))
            except FileNotFoundError:  # it moved on to where it will be looked for next
                continue
            except OSError as error:
                failures.append(f"{path} cannot be rewritten: {error.strerror}")
            except (ValueError, LookupError, TypeError):
                failures.append(f"{path} is damaged")
        return count

    events = rows = 0
    if live:
        taken(_check_gone, *tracks)
    else:
        events = taken(erase_events, folder / "events.jsonl")
        rows = taken(erase_rows, *tracks)
        taken(_erase_bars, folder / "report.html")
    recorded = taken(erase_person, folder / RECORD)
    shown = (folder / f"{path.stem}.mp4" for path in tracks)
    videos = tuple(path for path in shown if path.is_file())
    return Erased(events, rows, recorded, videos, tuple(failures))


def _check_gone(path: Path, identities: Set[int]) -> int:
    if _shown(path, identities):
        raise OutputError(
            f"{path} still shows them: the run that writes it could not take them out"
        )
    return 0


def erase_events(path: Path, identities: Set[int]) -> int:
    """Lines that tell of identities, or of a tracklet that was held to be one in the end; how many there were.

    Only lines that name them or their tracklets are read as JSON: a live loop waits meanwhile.
    """
    if not path.is_file():
        return 0
    named = _naming("identity|previous", identities)
    with path.open() as file:
        theirs = {json.loads(line)["local_id"] for line in file if named.search(line)}
    if not theirs:
        return 0
    told = re.compile(f"{named.pattern}|{_naming('local_id', theirs).pattern}")
    last: dict[tuple[str, int], int] = {}
    with path.open() as file:
        for event in map(json.loads, filter(told.search, file)):
            last[event["camera"], event["local_id"]] = event["identity"]

    def kept(line: str) -> str:
        if not told.search(line):
            return line
        event = json.loads(line)
        if event["kind"] == EventKind.FORGOTTEN:
            return line
        if identities & {event["identity"], last[event["camera"], event["local_id"]]}:
            return ""
        if event["previous"] in identities:  # somebody else, who was mistaken for this one
            return json.dumps(event | {"previous": None}) + "\n"
        return line

    return _rewrite(path, kept)


def erase_rows(path: Path, identities: Set[int]) -> int:
    """Rows of MOT text that show identities; how many there were. A live loop waits meanwhile."""
    if not _shown(path, identities):
        return 0
    names = "|".join(map(str, identities))
    row, count = re.compile(rf"^\d+,(?:{names}),.*\n?".encode(), re.MULTILINE), 0
    with path.open("rb") as source, _replacing(path) as out:
        for rows in _pieces(source):
            kept, erased = row.subn(b"", rows) if _names(rows, identities) else (rows, 0)
            out.write(kept)
            count += erased
    return count


def _naming(keys: str, numbers: Set[int]) -> re.Pattern[str]:
    """What a line of JSON has in which one of these keys has one of these numbers."""
    return re.compile(rf'"(?:{keys})":\s*(?:{"|".join(map(str, numbers))})\b')


def _shown(path: Path, identities: Set[int]) -> bool:
    with path.open("rb") as file:
        return any(_names(rows, identities) for rows in _pieces(file))


def _names(rows: bytes, identities: Set[int]) -> bool:
    """Identities alone are whole numbers between commas: this is ten times as fast as to look at each row."""
    return any(b",%d," % identity in rows for identity in identities)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines."""
    while lines := file.read(_CHUNK) + file.readline():
        yield lines


def _erase_bars(path: Path, identities: Set[int]) -> int:
    bars = re.compile(rf'<g id="person-({"|".join(map(str, identities))})">.*</g>\n')
    if not path.is_file() or not bars.search(path.read_text()):
        return 0
    return _rewrite(path, lambda line: bars.sub("", line))


def _rewrite(path: Path, kept: Callable[[str], str]) -> int:
    """Each line as `kept` wants it; answers how many it wanted to be gone or other than they were."""
    altered = 0
    with path.open() as source, _replacing(path) as out:
        for line in source:
            new = kept(line)
            altered += new != line
            out.write(new.encode())
    return altered


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """What will be in the place of `path`, whole, and as old: what is kept for some days is kept no longer for it."""
    draft, old = path.with_name(f".{path.name}.part"), _times(path)
    folder = _times(path.parent)
    try:
        with draft.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.utime(draft, ns=old)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
        with suppress(OSError):  # a folder of somebody else
            os.utime(path.parent, ns=folder)


def _times(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_atime_ns, found.st_mtime_ns
