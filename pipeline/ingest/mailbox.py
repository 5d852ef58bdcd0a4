"""Where a reader leaves frames and the loop takes them. Both kinds share one condition among cameras, for the loop."""

from collections import deque
from threading import Condition
from typing import Protocol

from pipeline.frames import Frame

_MOST = 4
"""Frames of a live camera that wait at once: more come of a burst, whose times say little."""


class Mailbox(Protocol):
    """One camera's frames on their way to the loop."""

    @property
    def drops(self) -> int:
        """Frames that nobody will ever take."""

    def put(self, frame: Frame) -> bool:
        """Leave a frame; False if the mailbox is closed."""

    def take(self) -> Frame | None:
        """The next frame, or None."""

    def peek(self) -> Frame | None:
        """The frame that `take` would give; it stays."""

    def close(self) -> None:
        """No more frames are wanted; whoever waits in `put` is let go. What is in can be taken."""


class Latest:
    """The newest frame, and whatever has not waited for long: who looks away for a moment misses nothing. Who looks
    away for longer cannot keep up, and sees the present. Frames that are let go are dropped and counted."""

    def __init__(self, changed: Condition, patience: float = 0.0) -> None:
        """`patience`: seconds by which a frame that waits may be older than the newest."""
        self._changed, self._patience = changed, patience
        self._frames: deque[Frame] = deque()
        self._behind = False
        """Whether too much came since the last frame was taken."""
        self._closed = False
        self._drops = 0

    @property
    def drops(self) -> int:
        return self._drops

    def put(self, frame: Frame) -> bool:
        with self._changed:
            if self._closed:
                return False
            frames = self._frames
            if frames:  # a clock that went back is no reason to keep anything
                self._behind |= not 0 < frame.time - frames[0].time <= self._patience
                self._behind |= len(frames) == _MOST
            if self._behind:
                self._drops += len(frames)
                frames.clear()
            frames.append(frame)
            self._changed.notify_all()
            return True

    def take(self) -> Frame | None:
        with self._changed:
            self._behind = False
            return self._frames.popleft() if self._frames else None

    def peek(self) -> Frame | None:
        with self._changed:
            return self._frames[0] if self._frames else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Queue:
    """Every frame in order; `put` waits while `length` frames are waiting already, and then until half are taken."""

    def __init__(self, changed: Condition, room: Condition, length: int) -> None:
        """`room`: this reader's own, on the lock of `changed`: else each frame would wake all readers."""
        self._changed, self._room = changed, room
        self._length = length
        self._frames: deque[Frame] = deque()
        self._closed = False

    @property
    def drops(self) -> int:
        return 0

    def put(self, frame: Frame) -> bool:
        with self._changed:
            if len(self._frames) >= self._length:
                half = self._length // 2
                self._room.wait_for(lambda: self._closed or len(self._frames) <= half)
            if self._closed:
                return False
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def take(self) -> Frame | None:
        with self._changed:
            if not self._frames:
                return None
            frame = self._frames.popleft()
            if len(self._frames) == self._length // 2:
                self._room.notify_all()
            return frame

    def peek(self) -> Frame | None:
        with self._changed:
            return self._frames[0] if self._frames else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._room.notify_all()
            self._changed.notify_all()
