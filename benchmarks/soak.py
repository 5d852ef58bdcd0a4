"""Weeks in minutes: the live loop with everything but pixels and networks, people coming and going.

Looks at the whole object graph, so that a table that nobody thought of is found as well: in the last third of the
run none may be larger than in the second, and neither may the memory of the process.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import this_machine
from benchmarks.streaming_memory import resident
from engines.engine import Array, Arrays, StateRows, TensorSpec
from engines.streaming import FrameAverages, StreamingReid
from pipeline.frames import Detections, Frame
from pipeline.identify import GalleryStore, Identifier, IdentifySettings
from pipeline.live import LiveLoop
from pipeline.publish import EventLog, Sink, TrackFiles
from pipeline.publish.report import Journal
from pipeline.tracklets import Tracklets, TrackletSettings

RESULTS = Path(__file__).parent / "results" / "soak.json"
CAMERAS = ("a", "b", "c", "d")
LANES, STEP = 4, 0.25
"""People a camera, at most; seconds from frame to frame."""
WIDE, HIGH, LANE = 96, 96, 24
BOX = np.array([6, 16])
SAMPLES = 120


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the tables, low enough that a run reaches all of them early."""

    retention: float = 1000.0
    rows: int = 1000
    journal: int = 2000
    reach: int = 1000


@dataclass(slots=True)
class Soak:
    """What was seen; each curve has one value a sample."""

    frames: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    tables: dict[str, list[int]] = field(default_factory=dict)
    founded: int = 0
    seconds: float = 0.0

    def grown(self) -> dict[str, tuple[int, int]]:
        """Tables that were larger in the last third than in the second, and how large in each."""
        third = len(self.frames) // 3
        found = {}
        for name, sizes in self.tables.items():
            middle, last = max(sizes[third : 2 * third]), max(sizes[2 * third :])
            if last > 1.15 * middle + 16:
                found[name] = (middle, last)
        return found

    def growth(self) -> float:
        """Megabytes by which the last third's memory exceeds that of the second, at the median."""
        third = len(self.frames) // 3
        middle, last = self.megabytes[third : 2 * third], self.megabytes[2 * third :]
        return float(np.median(last) - np.median(middle))


def soak(
    frames: int, folder: Path, bounds: Bounds | None = None, extra: Sequence[Sink] = ()
) -> Soak:
    """Let the loop run for so many frames; it writes into `folder`, as a run does."""
    bounds = bounds or Bounds()
    street = Street(frames // len(CAMERAS))
    pool = StreamingReid(FrameAverages(Colours()), 64)
    settings = TrackletSettings(least_height=8, full_height=float(BOX[1]))
    store = GalleryStore(folder / "identities.db", "soak")
    rules = IdentifySettings(retention=bounds.retention, rows=bounds.rows)
    identifier = Identifier(rules, store)
    sinks = [
        Journal(bounds.journal),
        EventLog(folder / "events.jsonl"),
        TrackFiles(folder / "tracks", bounds.reach),
        *extra,
    ]
    tracklets = Tracklets(pool, CAMERAS, settings)
    loop = LiveLoop(street, street.detect, tracklets, identifier, sinks, clock=lambda: street.now)
    seen, started = Soak(), time.perf_counter()
    every = max(street.ticks // SAMPLES, 1)
    while not street.finished:
        loop.tick()
        if street.tick % every == 0:
            sizes = dict(tables([loop])) | _on_disk(folder / "identities.db")
            for name, size in sizes.items():
                seen.tables.setdefault(name, [0] * len(seen.frames)).append(size)
            seen.frames.append(loop.meter.frames)
            seen.megabytes.append(resident())
            for curve in seen.tables.values():
                curve.extend([0] * (len(seen.frames) - len(curve)))
    loop.finish()
    identifier.close()
    if loop.failures:
        raise SystemExit(f"a sink failed: {loop.failures}")
    seen.founded, seen.seconds = identifier.counts.founded, time.perf_counter() - started
    return seen


def tables(roots: Iterable[object]) -> Iterator[tuple[str, int]]:
    """Every container that hangs on objects of ours: its place, and how much is in all that share the place."""
    sizes: dict[str, int] = {}
    known: set[int] = set()
    waiting: list[tuple[str, object]] = [("", root) for root in roots]
    while waiting:
        place, thing = waiting.pop()
        if id(thing) in known or isinstance(thing, str | bytes | int | float | None):
            continue
        known.add(id(thing))
        if isinstance(thing, np.ndarray):
            sizes[place] = sizes.get(place, 0) + len(np.atleast_1d(thing))
        elif isinstance(thing, dict | list | set | frozenset | deque | tuple):
            sizes[place] = sizes.get(place, 0) + len(thing)
            inside = thing.copy().values() if isinstance(thing, dict) else list(thing)
            waiting += [(f"{place}[]", value) for value in inside]
        elif type(thing).__module__.split(".")[0] in ("pipeline", "engines"):
            waiting += [(f"{type(thing).__name__}.{k}", v) for k, v in _attributes(thing)]
    return iter(sorted(sizes.items()))


def _attributes(thing: object) -> Iterator[tuple[str, object]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield name, getattr(thing, name)


def _on_disk(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as db:
        (rows,) = db.execute("SELECT count(*) FROM tracklets").fetchone()
    db.close()
    wal = path.with_name(path.name + "-wal")
    pages = sum(p.stat().st_size for p in (path, wal) if p.exists()) // 4096
    return {"identities.db: tracklets": rows, "identities.db: pages": pages}


class Colours:
    """Stands in for the network: a person's colour says who it is, and so does the embedding."""

    max_batch = 64

    def __init__(self) -> None:
        self._looks = np.random.default_rng(1).normal(size=(8192, 32)).astype(np.float32)
        self.inputs = {"crops": TensorSpec("crops", (-1, 8, 4, 3), "uint8")}
        self.outputs = {"embedding": TensorSpec("embedding", (-1, 32), "float32")}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        colours = inputs["crops"][:, 4, 2].astype(np.int64)
        return {"embedding": self._looks[colours @ (1, 256, 65536) % len(self._looks)]}

    def state_rows(self, capacity: int) -> StateRows:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class Street:
    """Cameras before which people walk by, each on a lane: some new, some who were here before."""

    def __init__(self, ticks: int) -> None:
        self.ticks, self.tick = ticks, 0
        self.now = 1e9
        self._draw = np.random.default_rng(7)
        shape = (len(CAMERAS), LANES)
        self._who = np.zeros(shape, np.int64)
        self._start, self._end = np.zeros(shape), np.zeros(shape)
        self._next = 1
        self._image = np.zeros((len(CAMERAS), HIGH, WIDE, 3), np.uint8)
        self._boxes: list[NDArray[np.int64]] = []

    @property
    def finished(self) -> bool:
        return self.tick >= self.ticks

    def wait(self, timeout: float, most: int | None = None) -> list[Frame]:
        """The next moment."""
        self.tick += 1
        self.now += STEP
        self._come_and_go()
        there = self.now >= self._start
        share = (self.now - self._start) / (self._end - self._start)
        left = np.clip(share * (WIDE - BOX[0]), 0, WIDE - BOX[0]).astype(np.int64)
        self._image[:] = 0
        self._boxes = []
        for camera in range(len(CAMERAS)):
            lanes = np.flatnonzero(there[camera])
            corner = np.stack([left[camera, lanes], lanes * LANE + 4], axis=1)
            self._boxes.append(np.hstack([corner, corner + BOX]))
            for (x, y), who in zip(corner.tolist(), self._who[camera, lanes].tolist(), strict=True):
                colour = who & 255, who >> 8 & 255, who >> 16
                self._image[camera, y : y + BOX[1], x : x + BOX[0]] = colour
        return [
            Frame(camera, self.tick, self.now, image)
            for camera, image in zip(CAMERAS, self._image, strict=True)
        ]

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Where they are, one in twenty overlooked."""
        found = []
        for boxes in self._boxes:
            seen = boxes[self._draw.random(len(boxes)) > 0.05].astype(np.float32)
            found.append(Detections(seen, np.full(len(seen), 0.9, np.float32)))
        return found

    def _come_and_go(self) -> None:
        gone = self.now >= self._end
        count = int(gone.sum())
        if not count:
            return
        fresh = self._next + np.arange(count)
        before = self._draw.integers(max(1, self._next - 300), self._next + 1, count)
        self._who[gone] = np.where(self._draw.random(count) < 0.7, fresh, before)
        self._next += count
        self._start[gone] = self.now + self._draw.uniform(1, 12, count)
        self._end[gone] = self._start[gone] + self._draw.uniform(4, 12, count)


def main() -> int:
    """Answers 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = soak(options.frames, Path(folder))
    for i in range(0, len(seen.frames), max(len(seen.frames) // 12, 1)):
        print(f"{seen.frames[i]:>10,} frames  {seen.megabytes[i]:7.1f} MB")
    print(f"{'largest by thirds of the run':48} {'first':>9} {'second':>9} {'last':>9}")
    third = len(seen.frames) // 3
    thirds = [slice(0, third), slice(third, 2 * third), slice(2 * third, None)]
    largest = {name: [max(sizes[t]) for t in thirds] for name, sizes in seen.tables.items()}
    for name, sizes in largest.items():
        print(f"{name:48} {sizes[0]:>9,} {sizes[1]:>9,} {sizes[2]:>9,}")
    grown = seen.grown()
    rate = seen.seconds / seen.frames[-1] * 1e6
    print(
        f"{seen.frames[-1]:,} frames, {seen.founded:,} identities founded, {seen.seconds:.0f} s ({rate:.0f} µs a "
        f"frame); memory {seen.growth():+.1f} MB from the second third to the last; "
        + (f"GREW: {', '.join(grown)}" if grown else "no table grew")
    )
    outcome = {
        "machine": this_machine(("numpy",)).as_json(),
        "command": "python -m benchmarks.soak",
        "frames": seen.frames[-1],
        "seconds": seen.seconds,
        "microseconds_a_frame": rate,
        "identities_founded": seen.founded,
        "bounds": asdict(Bounds()),
        "memory_growth_mb": seen.growth(),
        "memory_mb": seen.megabytes[:: max(len(seen.megabytes) // 60, 1)],
        "largest_by_thirds": largest,
        "grown": grown,
    }
    RESULTS.write_text(json.dumps(outcome, indent=2) + "\n")
    return int(bool(grown) or seen.growth() > 5)


if __name__ == "__main__":
    sys.exit(main())
