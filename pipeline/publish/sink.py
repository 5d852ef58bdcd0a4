"""What the live loop tells to whoever publishes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.frames import Frame, IdentityEvent, IntArray, Tracks


@dataclass(frozen=True, slots=True)
class Sighting:
    """One camera's picture, the people followed in it, and who they are held to be."""

    frame: Frame
    tracks: Tracks
    identities: IntArray
    """(N,) of each track; 0 while it is not known."""


class Sink(Protocol):
    """Takes all that happens. An error in one sink never stops the loop or another sink."""

    def sighting(self, sighting: Sighting) -> None:
        """A frame was worked on."""
        ...

    def events(self, events: Sequence[IdentityEvent]) -> None:
        """Statements about identities were made."""
        ...

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """These tracklets, by camera and local id, will not be seen again."""
        ...

    def close(self) -> None:
        """Leave everything complete."""
        ...
