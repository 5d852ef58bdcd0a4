"""How much a live loop may do at once: less as soon as it cannot keep up with its cameras.

Frames that come too fast are dropped, which costs tracks; a crop that is not embedded costs next to nothing, since
another comes soon. So crops give way first. And where pictures take long, a tick takes fewer of them: it looks at as
many in a second, but who is in the first of them is known before the last one is looked at.
"""

import math

_MEMORY = 0.5
"""Seconds over which idleness is averaged."""
_BUSY, _EASY = 0.1, 0.25
"""Share of time spent waiting for frames: below the first a loop is about to drop some, above the second it could
do more."""
_SOON, _FEWEST = 0.1, 2
"""Seconds that a tick may take, and pictures that it is given all the same: as many as two cores look at together."""
_LATELY = 10
"""Ticks over which the time for a picture is averaged."""


class Effort:
    """Crops and pictures a tick, at most; never less than one and two. For one thread."""

    def __init__(self, most: int) -> None:
        self._most, self._allowed, self._idle = most, float(most), 1.0
        self._each = 0.0
        """Seconds that a picture takes, with all that follows."""

    @property
    def budget(self) -> int:
        """Crops."""
        return max(1, math.floor(self._allowed))

    @property
    def pictures(self) -> int:
        return max(_FEWEST, math.floor(_SOON / max(self._each, 1e-6)))

    def note(self, waited: float, worked: float, embedded: int, pictures: int) -> None:
        """One tick: seconds of waiting for frames and of working on them, and what was embedded and looked at."""
        if pictures:
            self._each += (worked / pictures - self._each) / _LATELY
        whole = max(waited + worked, 1e-9)
        new = -math.expm1(-whole / _MEMORY)
        self._idle += new * (waited / whole - self._idle)
        if self._idle < _BUSY:
            self._allowed = max(1.0, min(self._allowed, embedded + 1) * (1 - 0.3 * new))
        elif self._idle > _EASY:
            self._allowed = min(float(self._most), self._allowed * (1 + 0.3 * new) + new)
