"""What a reader needs of a source of pictures, whatever is behind it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.pixels import Image, Pixels


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a feed, which costs nothing until it is wanted."""

    pts: float | None
    """Seconds on the feed's own clock, where it has one."""
    render: Callable[[], Image | Pixels]
    """Makes what a frame shows, the caller's own; call at most once, before the next picture."""
    lost: int = 0
    """Pictures right before this one that the feed had to leave out: skipped or damaged."""


class Feed(Protocol):
    """A connection to a camera, an open file, a folder: good for one pass."""

    @property
    def connected(self) -> bool:
        """Whether the other side has answered as it should."""

    @property
    def finite(self) -> bool:
        """Whether the end is the end, rather than a disconnect. Known once connected."""

    @property
    def interval(self) -> float:
        """Seconds from one picture to the next, nominally. Known once connected."""

    @property
    def damaged(self) -> int:
        """Pictures so far that arrived incomplete and were left out."""

    @property
    def skipped(self) -> int:
        """Pictures so far that were left out because nobody could keep up."""

    def pictures(self) -> Iterator[Picture | None]:
        """Each picture in order; None, several times a second, while there is none yet.

        Ends where the source ends. Raises FeedError when something is wrong, also when all that
        could be read has been given but something was missing.
        """

    def close(self) -> bool:
        """Let go of the source, without waiting; call it until it says True: all is let go of."""
