"""From a stream's own timestamps to capture times.

Streams start anywhere, jump, wrap, leave stamps out, and their clocks drift; the wall clock is set by
people and daemons. Capture times go forward only, whatever these do.
"""

import time
from collections.abc import Callable

_STEP = 1e-3
"""Least distance of two frames of a camera, so that nobody divides by zero."""
_DRIFT = 5e-4
"""How far a camera's clock may fall behind ours, in seconds per second; the worst quartz drifts 1e-4."""
_LATEST = 30.0
"""A frame cannot have been under way for longer; its timestamp is wrong instead."""


class Clock:
    """Seconds since the epoch that never jump: the wall clock read once, then a steady one.

    One for all cameras, so that their times stay comparable when the wall clock is set.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def now(self) -> float:
        """Now, on this clock."""
        return self._steady() + self._offset

    def jumped(self) -> float:
        """How far the wall clock has been set since: seconds, negative if it was set back."""
        return self._wall() - self.now()


class LiveTimeline:
    """Capture times of a live camera.

    The least delayed frame tells the offset between the camera's clock and ours: a frame cannot come
    from the future, so each that seems to pulls the offset down. It creeps up a little all the time,
    so that a camera whose clock is slow does not seem to fall behind for ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset: float | None = None
        self._pts = self._arrival = self._latest = float("-inf")

    def reconnected(self) -> None:
        """The stream's timestamps begin anew."""
        self._offset = None

    def time(self, pts: float | None) -> float:
        """Capture time of the frame stamped `pts` seconds that arrives now."""
        now = self._clock.now()
        if pts is None:
            captured = now
        else:
            if self._offset is None or pts < self._pts:
                self._offset = now - pts
            else:
                self._offset += _DRIFT * (now - self._arrival)
            if not now - _LATEST <= pts + self._offset <= now:
                self._offset = now - pts
            self._pts, self._arrival = pts, now
            captured = pts + self._offset
        self._latest = max(captured, self._latest + _STEP)
        return self._latest


class FileTimeline:
    """Seconds since the beginning of a file: its timestamps, made to go forward."""

    def __init__(self) -> None:
        self._shift: float | None = None
        self._latest = 0.0

    def offset(self, pts: float | None, interval: float) -> float:
        """Seconds from the first frame to this one; `interval` stands in where stamps are useless."""
        if self._shift is None:
            self._shift = -pts if pts is not None else 0.0
            return self._latest
        due = self._latest + interval
        if pts is None:
            self._latest = due
        else:
            if pts + self._shift <= self._latest:
                self._shift = due - pts
            self._latest = pts + self._shift
        return self._latest
