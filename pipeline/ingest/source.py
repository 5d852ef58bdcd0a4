"""All cameras of a run as the one object that the live loop reads from."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from threading import Condition, RLock

from av.codec.hwaccel import HWAccel

from pipeline.frames import Frame
from pipeline.ingest.addresses import Address, AddressKind, name_cameras
from pipeline.ingest.feed import Feed
from pipeline.ingest.folder import FolderFeed
from pipeline.ingest.health import CameraHealth
from pipeline.ingest.mailbox import Latest, Mailbox, Queue
from pipeline.ingest.options import IngestOptions
from pipeline.ingest.pace import StartLine
from pipeline.ingest.reader import CameraReader
from pipeline.ingest.timeline import Clock
from pipeline.ingest.video import VideoFeed, find_hardware

_TOGETHER = 0.01
"""Seconds of capture time within which frames of different files count as taken at once."""
_JUMP = 2.0
"""Seconds by which the wall clock may be off before it is worth a line."""
_log = logging.getLogger(__name__)


def open_sources(
    addresses: Sequence[Address],
    names: Sequence[str] | None = None,
    options: IngestOptions | None = None,
    *,
    max_rates: Mapping[str, float] | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
) -> "Sources":
    """Readers for all addresses, not yet started. `max_rates`: pictures per second, by camera name."""
    options, clock, random = options or IngestOptions(), clock or Clock(), random or Random()
    if options.every_frame and options.start is None:
        options = replace(options, start=clock.now())
    names = list(names or name_cameras(addresses))
    films = sum(not address.live for address in addresses)
    start_line = None if options.every_frame else StartLine(films, clock, options.start)
    hardware = find_hardware(options.hardware)
    lock = RLock()
    changed = Condition(lock)
    readers = []
    for name, address in zip(names, addresses, strict=True):
        own = replace(options, max_rate=(max_rates or {}).get(name, options.max_rate))
        every = options.every_frame and not address.live
        mailbox: Mailbox = (
            Queue(changed, Condition(lock), options.queue_length)
            if every
            else Latest(changed, options.patience)
        )
        readers.append(
            CameraReader(
                name,
                address,
                mailbox,
                _opener(address, own, hardware, name),
                options=own,
                clock=clock,
                start_line=StartLine(1, clock, None) if address.live else start_line,
                on_end=partial(_notify, changed),
                random=Random(random.random()),
            )
        )
    return Sources(readers, changed, clock, start_line)


class Sources:
    """Fresh frames of many cameras. One thread waits; any may ask for health or stop it all."""

    def __init__(
        self,
        readers: Sequence[CameraReader],
        changed: Condition,
        clock: Clock,
        start_line: StartLine | None,
    ) -> None:
        self._readers, self._changed, self._clock = tuple(readers), changed, clock
        self._start_line = start_line
        self._stopped = False
        self._jump = 0.0
        self._queued = [reader for reader in readers if isinstance(reader.mailbox, Queue)]
        self._newest = [reader for reader in readers if not isinstance(reader.mailbox, Queue)]
        """Those first that have waited longest for their turn."""

    @property
    def cameras(self) -> list[str]:
        """Names, in the order of the addresses."""
        return [reader.camera for reader in self._readers]

    @property
    def finished(self) -> bool:
        """Whether no frame will ever come again: all files are at their end and taken, or stopped."""
        with self._changed:
            return self._stopped or all(
                reader.over and reader.mailbox.peek() is None for reader in self._readers
            )

    def now(self) -> float:
        """Now, on the clock of the capture times of live cameras: what their frames' ages are against."""
        return self._clock.now()

    def start(self) -> None:
        for reader in self._readers:
            reader.start()

    def wait(self, timeout: float, most: int | None = None) -> list[Frame]:
        """At most one fresh frame per camera, as soon as there is any; none after `timeout` seconds.

        `most`: of so many live cameras, by turns. Where every frame of files counts, those come in the
        order of their capture times, frames of the same moment together, whatever the speed of each file's decoding.
        """
        self._watch_clock()
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready() or self.finished, timeout):
                return []
            fresh = [reader for reader in self._newest if reader.mailbox.peek() is not None][:most]
            self._newest.sort(key=fresh.__contains__)
            frames = [reader.mailbox.take() for reader in [*self._due(), *fresh]]
            return [frame for frame in frames if frame is not None]

    def health(self) -> dict[str, CameraHealth]:
        """Every camera's state now."""
        return {reader.camera: reader.health() for reader in self._readers}

    def enough(self) -> None:
        """No more frames are wanted: those that come from now on are let go, and are not counted as dropped."""
        for reader in self._readers:
            reader.mailbox.close()

    def stop(self, timeout: float = 1.0) -> bool:
        """Ends all readers; whether all of them had ended within `timeout` seconds.

        A connection that is just being opened cannot be interrupted: what the library still does
        about it ends on its own within the connect time-out, and nobody waits for it.
        """
        for reader in self._readers:
            reader.stop()
        if self._start_line is not None:
            self._start_line.release()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        ended = [reader.join(max(0.0, deadline - time.monotonic())) for reader in self._readers]
        return all(ended)

    def _ready(self) -> bool:
        return bool(self._due()) or any(reader.mailbox.peek() for reader in self._newest)

    def _due(self) -> list[CameraReader]:
        """The files whose next frame is the earliest of all; none while one of them is unknown."""
        heads = [(reader, reader.mailbox.peek()) for reader in self._queued]
        times = [frame.time for _, frame in heads if frame is not None]
        if any(frame is None and not reader.over for reader, frame in heads) or not times:
            return []
        limit = min(times) + _TOGETHER
        return [reader for reader, frame in heads if frame is not None and frame.time <= limit]

    def _watch_clock(self) -> None:
        jump = self._clock.jumped()
        if abs(jump - self._jump) > _JUMP:
            self._jump = jump
            _log.warning(
                "The system's clock was set; it is now %+.1f s from the one this run began with, "
                "and capture times go on by the latter.",
                jump,
            )


def _opener(
    address: Address, options: IngestOptions, hardware: HWAccel | None, name: str
) -> Callable[[], Feed]:
    if address.kind is AddressKind.SYNTHETIC:
        # The renderer takes a second to load, which nobody else should wait for.
        from pipeline.ingest.synthetic import SyntheticFeed, find_synthetic  # noqa: PLC0415

        return partial(SyntheticFeed, *find_synthetic(address))
    if address.kind is AddressKind.FOLDER:
        return partial(FolderFeed, Path(address.location), options.folder_rate)
    return partial(VideoFeed, address, options, hardware, f"camera {name}")


def _notify(changed: Condition) -> None:
    with changed:
        changed.notify_all()
