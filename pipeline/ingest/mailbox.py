"""Where a reader leaves frames and the loop takes them. Both kinds share one condition among cameras."""

from collections import deque
from threading import Condition
from typing import Protocol

from pipeline.frames import Frame


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
    """One frame, always the newest; the one that it replaces is dropped and counted."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._frame: Frame | None = None
        self._closed = False
        self._drops = 0

    @property
    def drops(self) -> int:
        return self._drops

    def put(self, frame: Frame) -> bool:
        with self._changed:
            if self._closed:
                return False
            self._drops += self._frame is not None
            self._frame = frame
            self._changed.notify_all()
            return True

    def take(self) -> Frame | None:
        with self._changed:
            frame, self._frame = self._frame, None
            return frame

    def peek(self) -> Frame | None:
        return self._frame

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Queue:
    """Every frame in order; `put` waits while `length` frames are waiting already."""

    def __init__(self, changed: Condition, length: int) -> None:
        self._changed = changed
        self._length = length
        self._frames: deque[Frame] = deque()
        self._closed = False

    @property
    def drops(self) -> int:
        return 0

    def put(self, frame: Frame) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._frames) < self._length)
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
            self._changed.notify_all()
            return frame

    def peek(self) -> Frame | None:
        with self._changed:
            return self._frames[0] if self._frames else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
