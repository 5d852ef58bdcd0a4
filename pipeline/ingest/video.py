"""Everything that FFmpeg opens as a feed: network cameras, webcams, files."""

import logging
from collections.abc import Iterator
from functools import partial

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.errors import FeedError
from pipeline.ingest.addresses import Address
from pipeline.ingest.decoded import Converters, DecodedPixels
from pipeline.ingest.feed import Picture
from pipeline.ingest.options import IngestOptions
from pipeline.ingest.packets import PacketReader, Promise

_HEARTBEAT = 0.1
_MISSING = 0.5
"""Seconds by which a film may be shorter than it says without being called cut."""
_log = logging.getLogger(__name__)


class VideoFeed:
    """One connection to a video source; decodes on the caller's thread."""

    def __init__(
        self, address: Address, options: IngestOptions, hardware: HWAccel | None, name: str
    ) -> None:
        self._address, self._options = address, options
        self._packets = PacketReader(address, options, hardware, f"{name} connection")
        self._converters = Converters()
        self._promise: Promise | None = None
        self._read = 0
        self._length = 0.0
        self.damaged = self.skipped = 0

    @property
    def connected(self) -> bool:
        return self._promise is not None

    @property
    def finite(self) -> bool:
        return self._promise.finite if self._promise else not self._address.live

    @property
    def interval(self) -> float:
        return self._promise.interval if self._promise else 0.04

    def pictures(self) -> Iterator[Picture | None]:
        """Whole pictures only: what the decoder had to make up is counted as damaged."""
        lost = 0
        while True:
            try:
                item = self._packets.get(_HEARTBEAT)
            except EOFError:
                break
            if self._promise is None and self._packets.promise is not None:
                self._promise = self._packets.promise
                self._promise.stream.codec_context.thread_count = self._options.decoder_threads
            if item is None:
                yield None
                continue
            skipped, packet = item
            self.skipped += skipped
            lost += skipped
            self._read += packet.size > 0
            frames = self._decode(packet)
            whole = [frame for frame in frames or [] if not frame.is_corrupt]
            broken = 1 if frames is None else len(frames) - len(whole)
            self.damaged += broken
            lost += broken
            if not whole:  # though packets come: whoever watches must know
                yield None
            for frame in whole:
                if frame.time is not None:
                    self._length = max(self._length, frame.time + self.interval)
                stamped = self._promise is not None and self._promise.stamped
                pts = frame.time if stamped else None
                yield Picture(pts, partial(DecodedPixels, frame, self._converters), lost)
                lost = 0
        if complaint := self._complaint():
            raise FeedError(complaint)

    def close(self) -> bool:
        return self._packets.close()

    def _decode(self, packet: "av.Packet[VideoStream]") -> list[VideoFrame] | None:
        """The frames that this packet completes; None if it cannot be decoded."""
        try:
            return list(packet.decode())
        except av.FFmpegError:
            return None

    def _complaint(self) -> str | None:
        """What is wrong with a film that has come to its end."""
        promise, shown = self._promise, self._address.display
        if promise is None or not promise.finite:
            return None
        if self._read < promise.packets:
            return f"{shown} is cut short: it ends after {self._read} of {promise.packets} frames."
        if promise.seconds is not None and 0 < self._length < promise.seconds - _MISSING:
            return f"{shown} is cut short: it ends after {self._length:.1f} of {promise.seconds:.1f} s."
        if self.damaged:
            return f"{shown} has {self.damaged} damaged frame(s), which were left out."
        return None


def find_hardware(kind: str | None) -> HWAccel | None:
    """The decoder of that kind (or any, for `auto`), or None and a warning if this machine has none."""
    if kind is None:
        return None
    available = hwdevices_available()
    for device in available if kind == "auto" else [kind]:
        if device not in available:
            continue
        accelerator = HWAccel(device, allow_software_fallback=True)
        try:
            accelerator.create(av.Codec("h264", "r"))
        except (av.FFmpegError, NotImplementedError, RuntimeError):
            continue
        return accelerator
    _log.warning(
        "No %s decoder works on this machine (known here: %s); decoding in software.",
        kind,
        ", ".join(available) or "none",
    )
    return None
