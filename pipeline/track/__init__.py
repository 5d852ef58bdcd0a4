"""Following people within one camera."""

from pipeline.track.tracker import Tracker, TrackerSettings, warm_up

__all__ = ["Tracker", "TrackerSettings", "warm_up"]
