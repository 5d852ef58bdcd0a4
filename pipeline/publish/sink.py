"""What the live loop tells to whoever publishes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.frames import Frame, IdentityEvent, IntArray, Tracks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One camera's picture, the people followed in it, and who they are held to be."""

    frame: Frame
    tracks: Tracks
    identities: IntArray
    """(N,) of each track; 0 while it is not known."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A track that has shown somebody else since some time: from then on it has another local id."""

    camera: str
    local_id: int
    since: float
    goes_on_as: int


class Sink(Protocol):
    """Takes all that happens. An error in one sink never stops the loop or another sink."""

    def sighting(self, sighting: Sighting) -> None:
        """A frame was worked on."""
        ...

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Statements about identities were made."""
        ...

    def passed(self, tracks: Sequence[Passed]) -> None:
        """What was said of these tracks since those times was of somebody else."""
        ...

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """These tracklets, by camera and local id, will not be seen again."""
        ...

    def close(self) -> None:
        """Leave everything complete."""
        ...


class EverySink:
    """Tells all sinks. One that fails is closed as well as it can be, and is told nothing more."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self.failures: dict[str, str] = {}
        """What went wrong, by the kind of the sink that was left out for it."""

    def sighting(self, sighting: Sighting) -> None:
        self._tell(lambda sink: sink.sighting(sighting))

    def events(self, events: Sequence[IdentityEvent]) -> None:
        self._tell(lambda sink: sink.events(events))

    def passed(self, tracks: Sequence[Passed]) -> None:
        self._tell(lambda sink: sink.passed(tracks))

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        self._tell(lambda sink: sink.ended(tracklets))

    def close(self) -> None:
        self._tell(lambda sink: sink.close())
        self._sinks = []

    def _tell(self, news: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                news(sink)
            except Exception as error:  # whatever it is, the loop and the others go on
                self._leave_out(sink, error)

    def _leave_out(self, sink: Sink, error: Exception) -> None:
        self._sinks.remove(sink)
        name = type(sink).__name__
        self.failures[name] = " ".join(str(error).split()) or type(error).__name__
        _log.warning("%s failed and is left out from now on: %s", name, self.failures[name])
        try:
            sink.close()
        except Exception as again:
            _log.debug("%s could not be closed either: %s", name, again)
