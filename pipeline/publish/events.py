"""Identity events as JSON lines, one a line, on disk as soon as they are known."""

import json
import math
from collections.abc import Sequence, Set
from dataclasses import asdict
from pathlib import Path

from pipeline.frames import EventKind, IdentityEvent
from pipeline.publish.erase import erase_events
from pipeline.publish.lines import Lines
from pipeline.publish.sink import Passed, Sighting


class EventLog:
    """Appends to one file. Somebody who is forgotten is erased from it."""

    def __init__(self, path: Path) -> None:
        self._file = Lines(path)
        self.count = 0

    def sighting(self, sighting: Sighting) -> None:
        """Not an event."""

    def events(self, events: Sequence[IdentityEvent]) -> None:
        gone = {event.identity for event in events if event.kind is EventKind.FORGOTTEN}
        if gone:  # before it says so
            self._erase(gone)
        for event in events:
            known = asdict(event)
            if not math.isfinite(event.score):  # beyond all doubt; JSON has no word for it
                known["score"] = None
            self._file.write(json.dumps(known) + "\n")
        if events:
            self._file.flush()
        self.count += len(events)

    def passed(self, tracks: Sequence[Passed]) -> None:
        """Not an event."""

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """Not an event."""

    def close(self) -> None:
        self._file.close()

    def _erase(self, identities: Set[int]) -> None:
        self._file.close()
        erase_events(self._file.path, identities)
        self._file = Lines(self._file.path, anew=False)
