"""The files of a run that goes on for weeks: a part for each day, and an end to their being kept.

What a part leaves is what a run of its length would: whole, in `earlier/<number>`, until its last day is over.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.folder import FileSettings, expired_parts, set_aside, writing
from pipeline.frames import IdentityEvent
from pipeline.publish.events import EventLog
from pipeline.publish.record_file import NAME as RECORD
from pipeline.publish.record_file import erase_expired
from pipeline.publish.report import Journal
from pipeline.publish.sink import EverySink, Passed, Sighting, Sink
from pipeline.publish.tracks import TrackFiles
from pipeline.publish.video import AnnotatedVideos

_log = logging.getLogger(__name__)
_LEAP = 3600.0
"""Seconds by which a clock is set within a part before its word on what is old is doubted."""
_AGAIN = 60.0
"""Seconds until a part that could not begin is tried again: a disk may be full for a moment only."""


class Parts:
    """All files of a run but its databases. One that fails is left out until the next part begins."""

    def __init__(
        self,
        folder: Path,
        settings: FileSettings | None,
        *,
        video: bool,
        conclude: Callable[[Journal], object],
        inputs: Sequence[Path] = (),
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settings` are None where the run ends by itself: then its files are one part, and none is deleted.

        `conclude` writes what comes last into a part.
        """
        self._folder, self._settings, self._video = folder, settings, video
        self._conclude, self._inputs = conclude, inputs
        self._clock, self._steady = clock, steady
        self._set_by, self._doubted = clock() - steady(), False
        self._again = math.inf
        self._expire()  # before anything needs room
        self.earlier = set_aside(folder, inputs)
        self.journal, self._files = self._begin()
        self._number = self._now()

    @property
    def failures(self) -> dict[str, str]:
        """What went wrong in this part."""
        return self._files.failures

    def sighting(self, sighting: Sighting) -> None:
        self._files.sighting(sighting)

    def events(self, events: Sequence[IdentityEvent]) -> None:
        self._files.events(events)

    def passed(self, tracks: Sequence[Passed]) -> None:
        self._files.passed(tracks)

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        """The last news of a tick: between two of them, another part may begin."""
        self._files.ended(tracklets)
        number = self._now()
        if number != self._number:
            self._number = number
            self._end()
            self._go_on()
        elif self._steady() >= self._again:
            self._go_on()

    def close(self) -> None:
        self._files.close()

    def _end(self) -> None:
        """Leave a part whole, unless it could not even begin."""
        self._files.close()
        if math.isinf(self._again):
            try:
                self._conclude(self.journal)
            except Exception as error:  # its other files are there
                _log.warning("a part of %s ended without a report: %s", self._folder, error)
        self._expire()

    def _go_on(self) -> None:
        """Into the next part. Where that is not possible, the run does, and this is tried again."""
        try:
            set_aside(self._folder, self._inputs)
            self.journal, self._files = self._begin()
            self._again = math.inf
        except Exception as error:
            self._files, self._again = EverySink([]), self._steady() + _AGAIN
            self._files.failures["Parts"] = str(error)
            _log.warning("no files are written for now: %s", error)

    def _begin(self) -> tuple[Journal, EverySink]:
        journal, folder = Journal(), self._folder
        with writing(folder):
            events = EventLog(folder / "events.jsonl")
            files: list[Sink] = [journal, TrackFiles(folder / "tracks")]
            # The one with a thread of its own is begun when nothing else can fail any more…
            files += [AnnotatedVideos(folder)] if self._video else []
            # …and events are told last: whom they call forgotten is erased everywhere else by then.
            return journal, EverySink([*files, events])

    def _now(self) -> int:
        """The number of the part that belongs to this hour."""
        if self._settings is None or not self._settings.part_hours:
            return 0
        now = self._clock()
        return int((now + time.localtime(now).tm_gmtoff) // (3600 * self._settings.part_hours))

    def _expire(self) -> None:
        """Delete what is past its day, also of a record of earlier runs; after a leap of the clock only when the
        next part begins.

        Then in any case: on machines that sleep the clock leaps every day.
        """
        if self._settings is None:
            return
        before, self._set_by = self._set_by, self._clock() - self._steady()
        leap = self._set_by - before
        self._doubted = leap > _LEAP and not self._doubted
        if self._doubted:
            _log.warning(
                "the clock leapt by %.0f s: no files are deleted before the next part", leap
            )
            return
        try:
            erase_expired(self._folder / RECORD, self._clock())
        except OutputError as error:
            _log.warning("%s", error)
        if not self._settings.keep_days:
            return
        for part in expired_parts(self._folder, self._clock() - 86400 * self._settings.keep_days):
            shutil.rmtree(part, ignore_errors=True)
            if part.exists():
                _log.warning("%s is past its day, but cannot be deleted", part)
