"""A text file that holds whole lines only, whatever happens to the disk."""

import os
from io import FileIO
from pathlib import Path

_BUFFERED = 1 << 13


class Lines:
    """Begins a file anew, or goes on at its end. What the disk refuses is cut off at the last whole line."""

    def __init__(self, path: Path, *, anew: bool = True) -> None:
        self.path = path
        self._file = FileIO(path, "a")
        if anew:
            self.cut(0)
        self._waiting: list[str] = []
        self._length = 0

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self._file.fileno()).st_size

    def write(self, line: str) -> None:
        """One line with its end, or several, on disk soon."""
        self._waiting.append(line)
        self._length += len(line)
        if self._length >= _BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Everything to the disk, now. What does not fit is given up, with OSError."""
        data, self._waiting, self._length = "".join(self._waiting).encode(), [], 0
        start, written = self.size, 0
        try:
            while written < len(data):  # a disk that is nearly full takes a part
                written += self._file.write(data[written:])
        except OSError:
            self.cut(start + data.rfind(b"\n", 0, written) + 1)
            raise

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes of what is on disk."""
        os.ftruncate(self._file.fileno(), size)

    def close(self) -> None:
        """Safe to call twice."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()
