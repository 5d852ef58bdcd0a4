"""When files of a live run hand out their frames: as if their cameras were watching now."""

from threading import Condition, Event

from pipeline.ingest.timeline import Clock


class StartLine:
    """Files that run in real time start together, when the last of them has its first frame ready."""

    def __init__(self, runners: int, clock: Clock, start: float | None) -> None:
        self._missing = runners
        self._clock, self._start = clock, start
        self._changed = Condition()
        self._origin: float | None = None

    def arrive(self) -> None:
        """One more is ready, or will never be. Call once for each runner."""
        with self._changed:
            self._missing -= 1
            if self._missing <= 0 and self._origin is None:
                self._origin = self._clock.now()
            self._changed.notify_all()

    def release(self) -> None:
        """Let everybody go: the run is over."""
        with self._changed:
            self._missing = 0
            if self._origin is None:
                self._origin = self._clock.now()
            self._changed.notify_all()

    def wait(self, patience: float = 60.0) -> tuple[float, float]:
        """The common start: on the clock, and as capture time. Whoever is out of patience starts all."""
        with self._changed:
            self._changed.wait_for(lambda: self._origin is not None, patience)
            if self._origin is None:
                self._origin = self._clock.now()
                self._changed.notify_all()
            return self._origin, self._origin if self._start is None else self._start


class RateLimit:
    """Picks pictures at no more than `rate` a second out of those that come, evenly."""

    def __init__(self, rate: float | None) -> None:
        self._period = 0.0 if rate is None else 1 / rate
        self._due = float("-inf")

    def admits(self, time: float) -> bool:
        """Whether the picture of that time is wanted."""
        if time < self._due - min(self._period / 4, 0.015):  # intervals are uneven
            return False
        late = time - self._due > self._period
        self._due = (time if late else self._due) + self._period
        return True


def sleep_until(due: float, clock: Clock, stop: Event) -> bool:
    """Waits until the clock says `due`; False if told to stop before."""
    while (rest := due - clock.now()) > 0:
        if stop.wait(min(rest, 1.0)):
            return False
    return not stop.is_set()
