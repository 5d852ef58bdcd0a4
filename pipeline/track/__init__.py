"""Following people within one camera."""

from pipeline.track.tracker import Tracker, TrackerSettings

__all__ = ["Tracker", "TrackerSettings"]
