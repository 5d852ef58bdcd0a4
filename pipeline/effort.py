"""How much a live loop may spend on embeddings: less as soon as it cannot keep up with its cameras.

Frames that come too fast are dropped, which costs tracks; a crop that is not embedded costs next to nothing, since
another comes soon. So crops give way first.
"""

import math

_MEMORY = 0.5
"""Seconds over which idleness is averaged."""
_BUSY, _EASY = 0.1, 0.25
"""Share of time spent waiting for frames: below the first a loop is about to drop some, above the second it could
do more."""


class Effort:
    """Crops a tick, at most; never less than one. For one thread."""

    def __init__(self, most: int) -> None:
        self._most, self._allowed, self._idle = most, float(most), 1.0

    @property
    def budget(self) -> int:
        return max(1, math.floor(self._allowed))

    def note(self, waited: float, worked: float, embedded: int) -> None:
        """One tick: seconds of waiting for frames and of working on them, and crops that were embedded."""
        whole = max(waited + worked, 1e-9)
        new = -math.expm1(-whole / _MEMORY)
        self._idle += new * (waited / whole - self._idle)
        if self._idle < _BUSY:
            self._allowed = max(1.0, min(self._allowed, embedded + 1) * (1 - 0.3 * new))
        elif self._idle > _EASY:
            self._allowed = min(float(self._most), self._allowed * (1 + 0.3 * new) + new)
