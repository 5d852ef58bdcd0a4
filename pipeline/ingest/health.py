"""What is known about a camera at a moment, for whoever shows or records it."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class CameraState(StrEnum):
    """What a camera is doing."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    """Connected, but no picture for a while."""
    RETRYING = "retrying"
    """Lost or never there; waiting to try again."""
    ENDED = "ended"
    """A file gave all it had; `error` says if that was less than it should have."""
    FAILED = "failed"
    """A file gave nothing."""


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """One camera at one moment. Holds no password."""

    camera: str
    address: str
    state: CameraState
    frames: int
    """Frames offered to the loop, those dropped later included."""
    drops: int
    """Frames that newer ones replaced before anyone took them, or that came too late to be of use."""
    damaged: int
    """Pictures that arrived incomplete and were left out."""
    reconnects: int
    fps: float
    error: str | None
    """The latest trouble in one sentence; it stays when the trouble is over."""
    resolution: tuple[int, int] | None
    """Width, height."""


class RateMeter:
    """Events per second over the last `window` seconds."""

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._times: deque[float] = deque()
        self._since: float | None = None

    def add(self, now: float) -> None:
        """One more event."""
        if self._since is None:
            self._since = now
        self._times.append(now)
        self._forget(now)

    def rate(self, now: float) -> float:
        """Events per second as of now."""
        self._forget(now)
        if self._since is None or now <= self._since:
            return 0.0
        return len(self._times) / min(self._window, max(now - self._since, 1.0))

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self._window:
            self._times.popleft()
