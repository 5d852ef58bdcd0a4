"""Erases an identity from what a run has written. Files are replaced whole: a kill leaves the old or the new one."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.frames import EventKind


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out of a folder, and what cannot be."""

    events: int
    rows: int
    videos: tuple[Path, ...]
    """They show everybody as they are: pictures cannot be rewritten."""


def erase(folder: Path, identity: int) -> Erased:
    """Take an identity out of a finished run's events, tracks and report."""
    try:
        events = erase_events(folder / "events.jsonl", identity)
        tracks = sorted((folder / "tracks").glob("*.txt"))
        rows = sum(erase_rows(path, identity) for path in tracks)
        _erase_bars(folder / "report.html", identity)
    except OSError as error:
        raise OutputError(f"{folder} cannot be rewritten: {error.strerror}") from error
    shown = (folder / f"{path.stem}.mp4" for path in tracks)
    return Erased(events, rows, tuple(path for path in shown if path.is_file()))


def erase_events(path: Path, identity: int) -> int:
    """Lines that tell of an identity, or of a tracklet that was held to be it in the end; how many there were."""
    if not path.is_file():
        return 0
    last: dict[tuple[str, int], int] = {}
    for line in _lines(path):
        event = json.loads(line)
        last[event["camera"], event["local_id"]] = event["identity"]

    def kept(line: str) -> str:
        event = json.loads(line)
        if event["kind"] == EventKind.FORGOTTEN:
            return line
        if identity in (event["identity"], last[event["camera"], event["local_id"]]):
            return ""
        if event["previous"] == identity:  # somebody else, who was mistaken for this one
            return json.dumps(event | {"previous": None}) + "\n"
        return line

    return _rewrite(path, kept)


def erase_rows(path: Path, identity: int) -> int:
    """Rows of MOT text that show an identity; how many there were."""
    return _rewrite(path, lambda row: "" if row.split(",", 2)[1] == str(identity) else row)


def _erase_bars(path: Path, identity: int) -> None:
    bars = re.compile(rf'<g id="person-{identity}">.*</g>\n')
    if path.is_file():
        _rewrite(path, lambda line: bars.sub("", line))


def _rewrite(path: Path, kept: Callable[[str], str]) -> int:
    """Each line as `kept` wants it; answers how many it wanted to be gone or other than they were."""
    draft, altered = path.with_name(f".{path.name}.part"), 0
    try:
        with draft.open("w") as out:
            for line in _lines(path):
                new = kept(line)
                altered += new != line
                out.write(new)
            out.flush()
            os.fsync(out.fileno())
        if altered:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return altered


def _lines(path: Path) -> Iterator[str]:
    with path.open() as file:
        yield from file
