"""One camera's reader: a thread that keeps its feed alive and its mailbox fresh, whatever happens."""

import logging
import traceback
from collections.abc import Callable
from random import Random
from threading import Event, Lock, Thread

from pipeline.errors import FeedError
from pipeline.frames import Frame
from pipeline.ingest.addresses import Address
from pipeline.ingest.feed import Feed, Picture
from pipeline.ingest.health import CameraHealth, CameraState, RateMeter
from pipeline.ingest.mailbox import Mailbox
from pipeline.ingest.options import IngestOptions
from pipeline.ingest.pace import RateLimit, StartLine, sleep_until
from pipeline.ingest.timeline import Clock, FileTimeline, LiveTimeline
from pipeline.pixels import Image, Pixels, as_pixels

_TOO_LATE = 0.5
"""Seconds by which a film in real time may fall behind before frames are left out to catch up."""
_GRACE = 1.0
"""Seconds that the library gets to report its own time-out before ours speaks."""
_log = logging.getLogger(__name__)


class CameraReader:
    """Reads one camera until told to stop: connects, watches, reconnects, and says how it goes.

    `start`, `stop` and `join` are for the owner's thread; `health` and `over` for any.
    """

    def __init__(
        self,
        camera: str,
        address: Address,
        mailbox: Mailbox,
        open_feed: Callable[[], Feed],
        *,
        options: IngestOptions,
        clock: Clock,
        start_line: StartLine | None = None,
        on_end: Callable[[], None] = lambda: None,
        random: Random | None = None,
        pause: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        """`start_line`: where a film waits to run in real time; None: as fast as it can.

        `on_end` is called from the thread, once, after the last frame. `pause(stop, seconds)` waits
        between attempts and says whether to stop.
        """
        self.camera, self.address, self.mailbox = camera, address, mailbox
        self._open_feed, self._options, self._clock = open_feed, options, clock
        self._start_line, self._on_end, self._pause = start_line, on_end, pause
        self._random = random or Random()
        self._stop, self._ended = Event(), Event()
        self._thread = Thread(target=self._run, name=f"camera {camera}", daemon=True)
        self._live_times = LiveTimeline(clock)
        self._file_times = FileTimeline()
        self._limit = RateLimit(options.max_rate)
        self._started: tuple[float, float] | None = None
        self._catching_up = False
        self._index = 0
        self._live_since = float("inf")
        self._quiet = False
        self._lock = Lock()  # guards everything below, which health() reads
        self._state = CameraState.CONNECTING
        self._rate = RateMeter()
        self._frames = self._drops = self._damaged = self._connections = 0
        self._feed: Feed | None = None
        self._error: str | None = None
        self._resolution: tuple[int, int] | None = None

    @property
    def over(self) -> bool:
        """Whether no frame will come any more."""
        return self._ended.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; it does so at once, `join` waits for it."""
        self._stop.set()
        self.mailbox.close()

    def join(self, timeout: float) -> bool:
        """Whether the thread has ended within `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def health(self) -> CameraHealth:
        with self._lock:
            skipped = self._feed.skipped if self._feed else 0
            damaged = self._feed.damaged if self._feed else 0
            return CameraHealth(
                camera=self.camera,
                address=self.address.display,
                state=self._state,
                frames=self._frames,
                drops=self.mailbox.drops + self._drops + skipped,
                damaged=self._damaged + damaged,
                reconnects=max(0, self._connections - 1),
                fps=self._rate.rate(self._clock.now()),
                error=self._error,
                resolution=self._resolution,
            )

    def _run(self) -> None:
        policy, failures = self._options.restart, 0
        try:
            while not self._stop.is_set():
                feed, error = self._opened()
                if feed:
                    error = self._session(feed)
                if self._stop.is_set():
                    return
                if feed.finite if feed else not self.address.live:
                    self._finish(error)
                    return
                settled = self._clock.now() - self._live_since > policy.settled
                failures = 1 if settled else failures + 1
                self._quiet = self._quiet and not settled
                self._trouble(error or f"{self.address.display} ended the connection.")
                # One that hangs must not be joined by another.
                while feed and not feed.close():
                    if self._stop.wait(0.05):
                        return
                if self._pause(self._stop, policy.delay(failures, self._random)):
                    return
        finally:
            if self._start_line is not None and self._started is None:
                self._start_line.arrive()
            self._ended.set()
            self._on_end()

    def _opened(self) -> tuple[Feed | None, str | None]:
        """A new connection, or why there is none: a machine may be out of threads just now."""
        self._live_since = float("inf")
        try:
            return self._open_feed(), None
        except Exception as problem:
            return None, self._broken(problem)

    def _session(self, feed: Feed) -> str | None:
        """One connection from beginning to end; what went wrong, if anything did."""
        with self._lock:
            self._feed = feed
        self._live_times.reconnected()
        try:
            self._watch(feed)
        except FeedError as problem:
            return str(problem)
        except Exception as problem:  # a defect or an exhausted machine: the others go on
            return self._broken(problem)
        finally:
            feed.close()
            with self._lock:
                self._drops += feed.skipped
                self._damaged += feed.damaged
                self._feed = None
        return None

    def _broken(self, problem: Exception) -> str:
        _log.error("%s", self.address.redact(traceback.format_exc()))
        return self.address.redact(f"{self.camera} broke: {type(problem).__name__}: {problem}")

    def _watch(self, feed: Feed) -> None:
        """Delivers what the feed gives, and gives it up when it falls silent."""
        options, shown = self._options, self.address.display
        latest, connected, pictures = self._clock.now(), False, 0
        for picture in feed.pictures():
            if self._stop.is_set():
                return
            if picture is not None:
                pictures += 1
                self._deliver(picture, feed, first=pictures == 1)
                latest = self._clock.now()
                continue
            if feed.connected and not connected:
                connected, latest = True, self._clock.now()
            silent = self._clock.now() - latest
            if not feed.connected and silent > options.connect_timeout + _GRACE:
                raise FeedError(f"{shown} did not answer within {options.connect_timeout:g} s.")
            if feed.connected and silent > options.read_timeout:
                raise FeedError(f"{shown} sent no picture for {options.read_timeout:g} s.")
            if pictures and silent > options.stall_after:
                with self._lock:
                    self._state = CameraState.STALLED

    def _deliver(self, picture: Picture, feed: Feed, *, first: bool) -> None:
        self._index += picture.lost
        index, self._index = self._index, self._index + 1
        if first:
            self._connected()
        if not feed.finite:
            time = self._live_times.time(picture.pts)
            shown = picture.render() if self._limit.admits(time) else None
        else:
            time, shown = self._run_film(picture, feed.interval)
        if shown is None or self._stop.is_set():
            return
        if not self.mailbox.put(Frame(self.camera, index, time, shown)):
            return
        with self._lock:
            self._state = CameraState.LIVE
            self._frames += 1
            self._rate.add(self._clock.now())
            self._resolution = as_pixels(shown).size

    def _run_film(self, picture: Picture, interval: float) -> tuple[float, Image | Pixels | None]:
        """Capture time and pixels of a file's picture, when its time has come; none: not wanted."""
        offset = self._file_times.offset(picture.pts, interval)
        if not self._limit.admits(offset):
            return 0.0, None
        if self._start_line is None:  # as fast as the frames are taken
            return (self._options.start or 0.0) + offset, picture.render()
        if self._started is not None:
            late = self._clock.now() - self._started[0] - offset
            self._catching_up = late > (0.0 if self._catching_up else _TOO_LATE)
            if self._catching_up:
                with self._lock:
                    self._drops += 1
                return 0.0, None
        shown = picture.render()  # before its time, so that it is there in time
        if self._started is None:
            self._start_line.arrive()
            self._started = self._start_line.wait()
        origin, start = self._started
        in_time = sleep_until(origin + offset, self._clock, self._stop)
        return start + offset, shown if in_time else None

    def _connected(self) -> None:
        self._live_since = self._clock.now()
        with self._lock:
            self._connections += 1
            back = self._state is CameraState.RETRYING
            self._state = CameraState.LIVE
        if back and not self._quiet:
            _log.info("%s is there again: %s.", self.camera, self.address.display)
            self._quiet = True  # until it has stayed: one that comes and goes must not fill the log

    def _trouble(self, error: str) -> None:
        """Notes why a live camera is away, and logs it once per absence."""
        with self._lock:
            news = self._state is not CameraState.RETRYING
            self._state, self._error = CameraState.RETRYING, error
        if news and not self._quiet:
            _log.warning("%s is lost, trying again: %s", self.camera, error)

    def _finish(self, error: str | None) -> None:
        with self._lock:
            self._error = error
            nothing = self._frames == 0
            self._state = CameraState.FAILED if nothing else CameraState.ENDED
            if nothing and error is None:
                self._error = f"{self.address.display} holds no picture."
        if self._error:
            _log.warning("%s: %s", self.camera, self._error)
