"""What an operator may decide about identities."""

from dataclasses import dataclass, field

from pipeline.errors import IdentifyError
from pipeline.identify.floor import FloorSettings
from pipeline.identify.prior import Site
from pipeline.identify.similarity import Mapping


@dataclass(frozen=True, slots=True)
class IdentifySettings:
    """How identities are judged and how long they are kept."""

    mapping: Mapping = field(default_factory=Mapping)
    site: Site = field(default_factory=Site)
    floor: FloorSettings = field(default_factory=FloorSettings)
    settled_frames: int = 4
    """Frames after which a tracklet is judged first; then at every doubling, and when it ends."""
    settled_confidence: float = 0.9
    """…or when its embedding carries this much confidence."""
    founding_frames: int = 2
    """A tracklet that ended with fewer frames may join somebody, but founds nobody."""
    known: float = 0.5
    """Chance that a tracklet is of somebody known, before anything is known of it."""
    hysteresis: float = 1.0
    """Nats by which a correction must be better than what was said before."""
    again: float = 1.0
    """Seconds after which those who were seen lately are judged anew, though nothing new is known of them: of others
    something may be…"""
    lately: float = 120.0
    """…and how long ago that is, in seconds."""
    merge: float = 4.0
    """Nats, on average over their tracklets, above which two identities are one."""
    rows_per_identity: int = 12
    rows: int = 50_000
    """Tracklets kept in all; beyond, the oldest go first."""
    retention: float = 24 * 3600.0
    """Seconds after which a tracklet is forgotten."""

    def __post_init__(self) -> None:
        if not (0 < self.known < 1):
            raise IdentifyError(f"known is a chance between 0 and 1, not {self.known}")
        if not (self.again > 0 and self.lately >= 0):
            raise IdentifyError(
                f"again is above 0 s, and lately 0 s or more, not {self.again} and {self.lately}"
            )
        if not (self.settled_frames >= 1 and self.rows_per_identity >= 2 and self.retention > 0):
            raise IdentifyError(
                "identities need settled_frames ≥ 1, rows_per_identity ≥ 2 and a retention above 0 s"
            )
        if self.rows < self.rows_per_identity:
            raise IdentifyError(f"{self.rows} rows hold not even one identity")
