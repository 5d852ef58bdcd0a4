"""Films that say in every picture which one it is, a real RTSP server to show them, and patience."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.ingest import IngestOptions, RestartPolicy, Sources

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).parent / "rtsp_server.py"


def picture(number: int, width: int, height: int) -> np.ndarray:
    """A grey picture with `number` in its upper part, as 16 black or white squares."""
    image = np.full((height, width, 3), 90, np.uint8)
    side = width // 8
    for bit in range(16):
        row, column = divmod(bit, 8)
        value = 235 if number >> bit & 1 else 20
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] = value
    return image


def stamp_of(image: np.ndarray) -> int:
    """The number in a picture that `picture` made; fails if it is smeared."""
    side = image.shape[1] // 8
    blocks = image[: 2 * side, : 8 * side].reshape(2, side, 8, side, 3).astype(float)
    inner = blocks[:, side // 4 : -side // 4, :, side // 4 : -side // 4]
    levels = inner.mean(axis=(1, 3, 4)).ravel()
    assert np.all((levels < 70) | (levels > 180)), levels
    return int(sum(1 << bit for bit, level in enumerate(levels) if level > 125))


class Films:
    """Makes H.264 films, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(
        self, name: str, frames: int, *, fps: int = 25, size: tuple[int, int] = (160, 120)
    ) -> Path:
        """Frames stamped 0, 1, 2, …; the suffix of `name` says the container."""
        return self.join(name, [(frames, size)], fps=fps)

    def join(self, name: str, parts: list[tuple[int, tuple[int, int]]], *, fps: int = 25) -> Path:
        """One stream whose size changes from part to part."""
        path = self._folder / name
        if path.exists():
            return path
        options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=fps)
            number = 0
            for coder, frames, size in [
                (
                    stream.codec_context if not place else av.CodecContext.create("libx264", "w"),
                    *part,
                )
                for place, part in enumerate(parts)
            ]:
                coder.width, coder.height = size
                coder.pix_fmt, coder.time_base = "yuv420p", Fraction(1, fps)
                coder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(fps)}
                for _ in range(frames):
                    frame = av.VideoFrame.from_ndarray(picture(number, *size), format="bgr24")
                    frame.pts, frame.time_base = number, coder.time_base
                    _mux(container, stream, coder.encode(frame))
                    number += 1
                _mux(container, stream, coder.encode(None))
        return path


def _mux(container, stream, packets) -> None:
    for packet in packets:
        packet.stream = stream
        container.mux(packet)


class RtspServer:
    """A server process that can be killed, frozen and started anew on its port."""

    def __init__(self, films: dict[str, Path], login: tuple[str, str] | None = None) -> None:
        self.port = free_port()
        self._arguments = [f"{name}={path}" for name, path in films.items()]
        if login:
            self._arguments = ["--login", *login, *self._arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RtspServer":
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), str(self.port), *self._arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def kill(self) -> None:
        """kill -9: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        os.kill(self._running(), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._running(), signal.SIGCONT)

    def url(self, name: str, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/{name}"

    def _running(self) -> int:
        assert self._process is not None
        return self._process.pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Viewer:
    """Takes frames like the live loop does, and keeps what tests ask about."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.stamps: dict[str, list[int]] = {name: [] for name in sources.cameras}
        self.times: dict[str, list[float]] = {name: [] for name in sources.cameras}
        self.indices: dict[str, list[int]] = {name: [] for name in sources.cameras}
        self.sizes: dict[str, list[tuple[int, int]]] = {name: [] for name in sources.cameras}
        self.arrivals: dict[str, list[float]] = {name: [] for name in sources.cameras}

    def watch(self, until: Callable[[], bool], limit: float) -> None:
        """Takes frames until something is true; fails after `limit` seconds."""
        deadline = time.monotonic() + limit
        while not until():
            assert time.monotonic() < deadline, self.sources.health()
            frames = self.sources.wait(0.05)
            assert len({frame.camera for frame in frames}) == len(frames)
            for frame in frames:
                self.stamps[frame.camera].append(stamp_of(frame.image))
                self.times[frame.camera].append(frame.time)
                self.indices[frame.camera].append(frame.index)
                self.sizes[frame.camera].append(frame.pixels.size)
                self.arrivals[frame.camera].append(time.monotonic())

    def watch_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.watch(lambda: time.monotonic() >= end, seconds + 5)

    def got(self, camera: str, more: int) -> Callable[[], bool]:
        """Whether `more` frames have come from that camera since this call."""
        before = len(self.stamps[camera])
        return lambda: len(self.stamps[camera]) >= before + more


@pytest.fixture(scope="session")
def stamped():
    """Makes a picture that tells its number."""
    return picture


@pytest.fixture(scope="session")
def read_stamp():
    """Reads the number in a picture that `stamped` made."""
    return stamp_of


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    return Films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="session")
def rtsp_available():
    """Skips where there is no RTSP server to test with."""
    check = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst;"
        "Gst.init(None); names = 'qtdemux', 'tsdemux', 'h264parse', 'rtph264pay';"
        "raise SystemExit(not all(map(Gst.ElementFactory.find, names)))"
    )
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False).returncode
    ):
        pytest.skip("GStreamer's RTSP server is not installed for the system's Python")


@pytest.fixture
def serve(rtsp_available):
    """Starts servers and ends them after the test."""
    servers = []

    def start(films: dict[str, Path], login: tuple[str, str] | None = None) -> RtspServer:
        servers.append(RtspServer(films, login).start())
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def impatient():
    """Time-outs short enough for a test, otherwise as a live run has them."""
    return IngestOptions(
        connect_timeout=2.0,
        read_timeout=1.0,
        stall_after=0.4,
        restart=RestartPolicy(first=0.1, longest=0.3),
    )


@pytest.fixture
def run():
    """Starts sources and stops them after the test, in time."""
    started = []

    def start(sources: Sources) -> Viewer:
        sources.start()
        started.append(sources)
        return Viewer(sources)

    yield start
    for sources in started:
        assert sources.stop(timeout=1.0)
