"""The half of a video connection that may hang: opening it and reading packets, on a thread of its own.

Nothing interrupts a name server, a TLS handshake or a dead disk, so nobody waits for this thread:
it is told that it is not wanted any more, and ends when the library's own time-out lets it.
"""

from __future__ import annotations  # av.Packet is generic for type checkers only

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EIO
from threading import Condition, Thread

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.errors import FeedError
from pipeline.ingest.addresses import Address, AddressKind
from pipeline.ingest.options import IngestOptions

_BACKLOG = 64
"""Packets that may wait to be decoded."""
_SLICE = 0.4
"""Seconds between looks at whether a silent RTSP connection is still wanted."""
_NO_TIMES = 0x80
"""FFmpeg's mark of formats without times, of which it makes some up as if they had 25 pictures a second."""
_NOT_A_VIDEO = frozenset({"tty", "ico_pipe", "txt"})
"""Formats in which the library would read about any text as a film of it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a source says about itself on opening."""

    stream: VideoStream
    finite: bool
    interval: float
    packets: int
    """How many there are; 0: it does not say."""
    seconds: float | None
    stamped: bool
    """Whether its pictures bear times, instead of times that are made up on reading."""


class PacketReader:
    """Packets of one connection as they arrive, in order.

    For a live source, a decoder that cannot keep up loses whole groups of pictures, from one key
    picture to another, instead of falling ever further behind.
    """

    def __init__(
        self, address: Address, options: IngestOptions, hardware: HWAccel | None, name: str
    ) -> None:
        self._address, self._options, self._hardware = address, options, hardware
        self._changed = Condition()
        self._packets: deque[tuple[int, Packet[VideoStream]]] = deque()
        self._wanted = True
        self._over = False
        self._error: str | None = None
        self._lost = 0
        self._skipping = False
        self.promise: Promise | None = None
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def get(self, patience: float) -> tuple[int, Packet[VideoStream]] | None:
        """The next packet and how many were lost right before it; None after `patience` seconds.

        EOFError at the end, FeedError if the connection broke.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._packets or self._over, patience)
            if self._packets:
                if len(self._packets) == _BACKLOG // 2:  # each packet would wake the other thread
                    self._changed.notify_all()
                return self._packets.popleft()
            if self._error is not None:
                raise FeedError(self._error)
            if self._over:
                raise EOFError
            return None

    def close(self) -> bool:
        """Says that nothing more is wanted, and whether the thread has ended."""
        with self._changed:
            self._wanted = False
            self._packets.clear()
            self._changed.notify_all()
        return not self._thread.is_alive()

    def _run(self) -> None:
        container: InputContainer | None = None
        error: str | None = None
        since = time.monotonic()
        try:
            container = self._open()
            self.promise = _promise(container, self._address)
            self._read(container, self.promise)
        except FeedError as problem:
            error = str(problem)
        except Exception as problem:  # whatever it is, the reader must hear of it
            # The library reports its own time-out as whatever it then stumbles over.
            late = time.monotonic() - since >= self._options.connect_timeout
            problem = TimeoutError() if late and self.promise is None else problem
            error = _sentence(self._address, problem, self.promise is not None)
        with self._changed:
            self._error, self._over = error, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._wanted)
        if container is not None:  # only now: its decoder was in use until nothing was wanted
            self.promise = None
            container.close()

    def _open(self) -> InputContainer:
        address, options = self._address, self._options
        if address.kind is AddressKind.FILE:
            # The prefix keeps the library from seeing a protocol in a name like `cam:1.mp4`.
            container: InputContainer = av.open(f"file:{address.location}", hwaccel=self._hardware)
            return container
        settings: Mapping[str, str] = {}
        read, form = options.read_timeout, None
        if address.kind is AddressKind.RTSP:
            read = _SLICE
            settings = {
                "rtsp_transport": options.transport,
                "allowed_media_types": "video",
                "analyzeduration": "1000000",  # less can lose the first picture
                "fpsprobesize": "0",  # else it watches for a second to guess a rate nobody needs
            }
        elif address.kind is AddressKind.WEBCAM:
            form = "v4l2" if address.location.startswith("/dev/") else "avfoundation"
        container = av.open(
            address.location,
            format=form,
            options=dict(settings),
            timeout=(options.connect_timeout, read),
            hwaccel=self._hardware,
        )
        return container

    def _read(self, container: InputContainer, promise: Promise) -> None:
        sliced = self._address.kind is AddressKind.RTSP
        while True:
            try:
                for packet in container.demux(promise.stream):
                    if not self._put(packet, promise.finite):
                        return
            except av.ExitError:
                # RTSP reads on after a time-out as if nothing had been; other protocols do not.
                if not sliced:
                    raise
                if not self._wanted:
                    return
            else:
                return

    def _put(self, packet: Packet[VideoStream], finite: bool) -> bool:
        with self._changed:
            if finite and len(self._packets) >= _BACKLOG:
                self._changed.wait_for(
                    lambda: len(self._packets) < _BACKLOG // 2 or not self._wanted
                )
            elif len(self._packets) >= _BACKLOG or self._skipping:
                if not packet.is_keyframe:
                    self._lost += 1
                    self._skipping = True
                    return self._wanted
                self._lost += sum(1 + lost for lost, _ in self._packets)
                self._packets.clear()
                self._skipping = False
            self._packets.append((self._lost, packet))
            self._lost = 0
            self._changed.notify_all()
            return self._wanted


def _promise(container: InputContainer, address: Address) -> Promise:
    if not container.streams.video or container.format.name in _NOT_A_VIDEO:
        raise FeedError(f"{address.display} holds no video.")
    stream = container.streams.video[0]
    finite = not address.live
    if address.kind is AddressKind.HTTP:
        finite = container.duration is not None
    seconds = None
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:  # else it may be the sound's
        seconds = container.duration / 1_000_000
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    stamped = finite or not container.format.flags & _NO_TIMES
    return Promise(stream, finite, 1 / rate, stream.frames, seconds, stamped)


def _sentence(address: Address, error: Exception, connected: bool) -> str:
    """What happened, for a person. Never the library's whole text: it repeats the URL."""
    for kinds, early, late in _MEANINGS:
        if isinstance(error, kinds):
            meaning = late if connected else early
            break
    else:
        meaning = f"{'broke off' if connected else 'cannot be opened'}: {_reason(address, error)}"
    if address.kind is AddressKind.FILE and isinstance(error, av.InvalidDataError):
        meaning = "is damaged" if connected else "is not a video, or was cut short before its index"
    return f"{address.display} {meaning}."


def _reason(address: Address, error: Exception) -> str:
    reason = address.redact(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    if isinstance(error, OSError) and error.errno == EIO and address.live:
        reason += "; check the host name and the network"
    return reason


_MEANINGS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (av.HTTPUnauthorizedError, av.HTTPForbiddenError),
        "refuses this user name and password",
        "refuses this user name and password",
    ),
    (
        (av.HTTPNotFoundError,),
        "does not exist on that server; check the path",
        "does not exist on that server any more",
    ),
    (
        (ConnectionRefusedError,),
        "refuses connections; check that it is on and the port is right",
        "refuses connections",
    ),
    ((av.ExitError, TimeoutError), "did not answer in time", "fell silent"),
    (
        (av.InvalidDataError,),
        "answers with something that is not a video stream",
        "sends something that is not a video stream",
    ),
)
"""Errors of the library: what each means while connecting, and later."""
