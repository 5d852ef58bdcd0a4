"""True ways between cameras, read from ground truth: who left one view and came into another, and
when.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, pstdev

_SHOWN = 0.3
"""Somebody is in view while at least this share of them shows."""
_PATIENCE = 2.0
"""Seconds out of view after which a stay is over."""


@dataclass(frozen=True, slots=True)
class Transit:
    """One person's way from one view into the next; `left` > `entered` where views overlap."""

    identity: int
    origin: str
    target: str
    left: float
    entered: float

    @property
    def seconds(self) -> float:
        """Time unseen between the two; negative while both saw the person."""
        return self.entered - self.left


def transits_of(truth: Mapping[str, Path], fps: float) -> list[Transit]:
    """Every change of camera, by time; absences that end in the same camera count as well."""
    stays: dict[int, list[tuple[float, float, str]]] = defaultdict(list)
    for camera, path in truth.items():
        for person, first, last in _stays(path, fps):
            stays[person].append((first, last, camera))
    transits = []
    for person, seen in stays.items():
        for (_, left, origin), (entered, _, target) in pairwise(sorted(seen)):
            transits.append(Transit(person, origin, target, left, entered))
    return sorted(transits, key=lambda transit: (transit.entered, transit.identity))


def travel_times(transits: list[Transit]) -> dict[str, dict[str, float]]:
    """Per ordered pair "a>b": how many, and the seconds between leaving one view and entering the
    other.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for transit in transits:
        seconds[f"{transit.origin}>{transit.target}"].append(transit.seconds)
    return {
        pair: {
            "count": len(values), "mean": mean(values), "median": median(values),
            "std": pstdev(values),
            "min": min(values), "max": max(values),
        }
        for pair, values in sorted(seconds.items())
    }  # fmt: skip


def _stays(path: Path, fps: float) -> list[tuple[int, float, float]]:
    """(identity, first, last) seconds of every stay in one camera's view; the file is read line by
    line.
    """
    current: dict[int, tuple[float, float]] = {}
    done: list[tuple[int, float, float]] = []
    with path.open(encoding="ascii") as lines:
        for line in lines:
            fields = line.split(",")
            if float(fields[8]) < _SHOWN:
                continue
            time, person = (int(fields[0]) - 1) / fps, int(fields[1])
            first, last = current.get(person, (time, time))
            if time - last > _PATIENCE:
                done.append((person, first, last))
                first = time
            current[person] = first, time
    return done + [(person, first, last) for person, (first, last) in current.items()]
