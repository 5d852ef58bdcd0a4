"""How cameras are read: what a site may set, with the defaults that fit most."""

from dataclasses import dataclass
from random import Random
from typing import Literal


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before trying a lost camera again: longer each time, and never for good."""

    first: float = 0.5
    longest: float = 30.0
    settled: float = 10.0
    """A connection that lasted so long was a good one: the next failure counts as the first."""
    jitter: float = 0.5
    """Share of the delay that chance may take off, lest all cameras of a dead switch knock at once."""

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after `failures` (1, 2, …) in a row."""
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 32))
        return full * (1 - self.jitter * random.random())


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Settings of all cameras of a run. Times are seconds."""

    every_frame: bool = False
    """Files as fast as the reader of the frames takes them, none left out; otherwise in real time."""
    start: float | None = None
    """Capture time at which files begin; None: when the run begins."""
    transport: Literal["tcp", "udp"] = "tcp"
    connect_timeout: float = 10.0
    read_timeout: float = 5.0
    """A connected camera that sends no picture for so long is given up and connected anew."""
    stall_after: float = 2.0
    restart: RestartPolicy = RestartPolicy()
    max_rate: float | None = None
    """Pictures per second of each camera; more are not converted. None: all."""
    folder_rate: float = 25.0
    """Pictures per second of a folder of pictures, which do not say it themselves."""
    hardware: str | None = None
    """Decode on this kind of device (cuda, vaapi, videotoolbox, …), in software if there is none."""
    decoder_threads: int = 1
    """Threads per camera; more than one adds as many frames of delay."""
    patience: float = 0.1
    """A live frame is dropped where it has waited until there is one so much newer."""
    queue_length: int = 8
    """Frames per file that wait for their reader when every frame counts."""
