"""The live loop: frames in, identities out, one tick after another.

Every tick takes a fresh frame of each camera that has one, or of as many as can be looked at soon, and sends all of
them through each stage at once. Cameras have threads of their own in `ingest`, and live a slow camera, sink or
network only ever costs frames, which are counted. The loop may look ahead: helpers wait for the next frames and find
the people in them while the caller's thread follows those of the last.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Protocol, TypeAlias

import numpy as np

from pipeline.effort import Effort
from pipeline.frames import Detections, Frame, IdentityEvent, IntArray, TrackletUpdate
from pipeline.publish.sink import EverySink, Passed, Sighting, Sink
from pipeline.track import Tracker, TrackerSettings
from pipeline.tracklets import Tracklets

Look: TypeAlias = tuple[Sequence[Frame], Sequence[Detections]]
"""A tick's frames, and who was found in each."""
STAGES = ("wait", "detect", "track", "embed", "identify", "publish")
_BINS = np.geomspace(1e-3, 1e3, 1401)
"""Edges of the latencies' histogram in seconds: one in a hundred apart."""
TRACKING = TrackerSettings(patience=1.5, overlap=0.35, doubtful=0.15)
"""Who was lost for longer is recognised by looks, which err less than motion over long gaps."""
_IDLE = 1.0
"""Seconds between two looks at what else there is to do where no pictures come."""
_STALLED = 1.0
"""Seconds that looking ahead waits for another tick: unless a file stalls, batches are the same in every run."""


class Frames(Protocol):
    """Where frames come from."""

    def wait(self, timeout: float, most: int | None = None) -> Sequence[Frame]:
        """At most one fresh frame of each camera; none where nothing came in time. `most`: of so many cameras, by
        turns."""
        ...

    @property
    def finished(self) -> bool:
        """Nothing will ever come again."""
        ...


class Identities(Protocol):
    """Who is who."""

    def update(
        self, updates: Sequence[TrackletUpdate], ended: Sequence[tuple[str, int]], now: float
    ) -> list[IdentityEvent]: ...

    def identity_of(self, camera: str, local_id: int) -> int | None: ...


@dataclass(slots=True)
class Meter:
    """What the loop has done and how long it took."""

    ticks: int = 0
    frames: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """Where a loop looks ahead, waiting and detecting go on beside the rest, and beside each other: the sum over its
    helpers."""
    latencies: IntArray = field(default_factory=lambda: np.zeros(len(_BINS), np.int64))
    """Frames by seconds from capture to the end of the tick, as a histogram over `_BINS`."""
    processor: float = field(default_factory=time.process_time)
    """The processor's seconds when it began."""
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            with self._lock:
                self.seconds[name] += took

    def note(self, frames: Sequence[Frame], now: float) -> None:
        self.ticks += 1
        self.frames += len(frames)
        ages = np.array([now - frame.time for frame in frames])
        np.add.at(self.latencies, np.clip(np.searchsorted(_BINS, ages), 0, len(_BINS) - 1), 1)

    def latency(self) -> Mapping[str, float]:
        """Percentiles in seconds."""
        total = int(self.latencies.sum())
        if not total:
            return {}
        share = np.cumsum(self.latencies) / total
        return {f"p{p}": float(_BINS[np.searchsorted(share, p / 100)]) for p in (50, 95, 99)}


class LiveLoop:
    """All stages, one after the other."""

    def __init__(
        self,
        frames: Frames,
        detect: Callable[[Sequence[Frame]], Sequence[Detections]],
        tracklets: Tracklets,
        identities: Identities,
        sinks: Sequence[Sink],
        *,
        clock: Callable[[], float] = time.time,
        effort: Effort | None = None,
        ahead: int = 0,
        hands: int = 1,
        tracking: TrackerSettings = TRACKING,
    ) -> None:
        """`effort`: lets embeddings give way where frames would be dropped; None: frames wait for the loop.

        `ahead`: so many frames are looked at together, as ticks allow, by helpers, and no fewer than those of a tick;
        0: each tick looks at its own, on the caller's thread. `hands`: so many helpers, which call `detect` at the
        same time.
        """
        self._frames, self._detect, self._tracklets = frames, detect, tracklets
        self._identities, self._sinks, self._clock = identities, EverySink(sinks), clock
        self._trackers: dict[str, Tracker] = {}
        self._tracking = tracking
        self._now: float | None = None
        self._idled = -math.inf
        self._effort = effort
        self._ahead = ahead
        self._hands = hands
        self._helpers = ThreadPoolExecutor(hands, "look ahead") if ahead else None
        self._looks: deque[Look] = deque()
        self._pending: deque[Future[list[Look]]] = deque()
        self._taken = Event()
        """Whether the last of them who looks ahead has its frames: they come in order."""
        self._taken.set()
        self.meter = Meter()

    def run(
        self,
        stop: Callable[[], bool] = lambda: False,
        timeout: float = 0.1,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Until every source has ended or `stop` says so. `after`: what else is to be done after each tick."""
        while not stop() and not self.over:
            self.tick(timeout)
            after()
        self.catch_up()

    @property
    def over(self) -> bool:
        """Whether no frame is left, and none will ever come."""
        if not self._frames.finished or self._looks:
            return False
        return not any(look.result() for look in self._pending)

    def tick(self, timeout: float = 0.1) -> int:
        """One round. Answers how many frames it worked on."""
        meter, began = self.meter, time.perf_counter()
        waiting, embedded = meter.seconds["wait"], self._tracklets.counts.embedded
        if not self._looks:
            self._looks.extend(self._next(timeout))
        frames = self._follow(*self._looks.popleft()) if self._looks else self._idle()
        if self._effort is not None:
            spent = time.perf_counter() - began
            # Ahead, a wait may have begun before this tick did.
            waited = min(meter.seconds["wait"] - waiting, spent)
            embedded = self._tracklets.counts.embedded - embedded
            self._effort.note(waited, spent - waited, embedded, frames)
        return frames

    def catch_up(self) -> None:
        """Work on what was looked at ahead; nothing more is looked at."""
        while self._looks or self._pending:
            if self._looks:
                self._follow(*self._looks.popleft())
            else:
                self._looks.extend(self._pending.popleft().result())

    def _next(self, timeout: float) -> list[Look]:
        if self._helpers is None:
            return self._find(self._take(timeout))
        while len(self._pending) < self._hands:
            self._look_ahead(timeout)
        found = self._pending.popleft().result()
        self._look_ahead(timeout)
        return found

    def _look_ahead(self, timeout: float) -> None:
        assert self._helpers is not None
        before, taken = self._taken, Event()
        self._pending.append(self._helpers.submit(self._look, timeout, before, taken))
        self._taken = taken

    def _look(self, timeout: float, before: Event, taken: Event) -> list[Look]:
        """On a helper's thread. It takes frames when the look `before` it has its own."""
        before.wait()
        try:
            ticks = self._take(timeout)
        finally:
            taken.set()
        return self._find(ticks)

    def _take(self, timeout: float) -> list[Sequence[Frame]]:
        """The frames of the next tick, or of so many ticks as are looked at together; none in time: none."""
        frames = self._frames
        with self.meter.stage("wait"):
            ticks = [frames.wait(timeout, self._effort.pictures if self._effort else None)]
            while ticks[-1] and sum(map(len, ticks)) + max(map(len, ticks)) <= self._ahead:
                ticks.append(frames.wait(_STALLED))
        return [tick for tick in ticks if tick]

    def _find(self, ticks: Sequence[Sequence[Frame]]) -> list[Look]:
        """Who is in them."""
        shown = [frame for tick in ticks for frame in tick]
        if not shown:
            return []
        with self.meter.stage("detect"):
            found = iter(self._detect(shown))
        return [(tick, [next(found) for _ in tick]) for tick in ticks]

    def _follow(self, frames: Sequence[Frame], detections: Sequence[Detections]) -> int:
        meter = self.meter
        with meter.stage("track"):
            tracks = [
                self._tracker(frame).update(found, frame.time)
                for frame, found in zip(frames, detections, strict=True)
            ]
        now = self._now = max(frame.time for frame in frames)
        with meter.stage("embed"):
            budget = self._effort.budget if self._effort else None
            updates, ended = self._tracklets.update(
                list(zip(frames, tracks, strict=True)), now, budget
            )
        passed = self._pass_on(updates, ended)
        with meter.stage("identify"):
            events = self._identities.update(updates, ended, now)
        with meter.stage("publish"):
            self._sinks.events(events)
            for frame, followed in zip(frames, tracks, strict=True):
                ids = [
                    self._identities.identity_of(frame.camera, local) or 0
                    for local in followed.ids.tolist()
                ]
                self._sinks.sighting(Sighting(frame, followed, np.array(ids, np.int64)))
            self._sinks.passed(passed)
            self._sinks.ended(ended)
        meter.note(frames, self._clock())
        return len(frames)

    def _idle(self) -> int:
        """Where no camera shows anything, somebody may still be forgotten, and a day may end. No frames."""
        now = time.monotonic()
        if self._now is not None and now - self._idled >= _IDLE:
            self._idled = now
            self._sinks.events(self._identities.update([], [], self._now))
            self._sinks.ended([])
        return 0

    @property
    def failures(self) -> Mapping[str, str]:
        """Sinks that were left out because they failed, and why."""
        return self._sinks.failures

    def finish(self) -> None:
        """End all tracklets, say what is known of them, and close every sink."""
        try:
            ended = self._tracklets.end_all()
            if self._now is not None:
                self._sinks.events(self._identities.update([], ended, self._now))
            self._sinks.ended(ended)
        finally:
            self._sinks.close()
            if self._helpers is not None:
                self._helpers.shutdown()

    def _pass_on(
        self, updates: Sequence[TrackletUpdate], ended: Sequence[tuple[str, int]]
    ) -> list[Passed]:
        """Tracklets that ended though their tracks go on: these show somebody else, and get another id."""
        since = {(u.camera, u.local_id): u.time for u in updates if u.takes_back}
        passed = []
        for camera, local in ended:
            renewed = self._trackers[camera].renew(local)
            if renewed is not None and (camera, local) in since:
                passed.append(Passed(camera, local, since[camera, local], renewed))
        return passed

    def _tracker(self, frame: Frame) -> Tracker:
        """One a camera, for as long as the run: a change of resolution must not begin its ids anew."""
        if frame.camera not in self._trackers:
            self._trackers[frame.camera] = Tracker(frame.pixels.size, self._tracking)
        return self._trackers[frame.camera]
