"""What a run leaves behind: events, tracks, annotated video, a report and a summary."""

from pipeline.publish.events import EventLog
from pipeline.publish.sink import EverySink, Sighting, Sink
from pipeline.publish.tracks import TrackFiles
from pipeline.publish.video import AnnotatedVideos

__all__ = ["AnnotatedVideos", "EventLog", "EverySink", "Sighting", "Sink", "TrackFiles"]
