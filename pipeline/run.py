"""One run: opens what the settings name, lets the loop run, and leaves a complete folder behind."""

import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

from engines import FrameAverages, StreamingReid, open_engine
from engines.adopt import adopt
from engines.opening import is_foreign
from engines.package import Head, Kind, read_manifest
from engines.streaming import SlotCounts
from pipeline.detect import Detector, DetectorSpec
from pipeline.errors import OutputError, SettingsError
from pipeline.frames import Detections, Frame
from pipeline.identify import GalleryStore, Identifier
from pipeline.ingest import (
    CameraHealth,
    IngestOptions,
    Sources,
    name_cameras,
    open_sources,
    parse_address,
    redact,
)
from pipeline.live import Identities, LiveLoop, Meter
from pipeline.publish import AnnotatedVideos, EventLog, Sink, TrackFiles
from pipeline.publish.record import Recorded, Recorder, erase_if_expired
from pipeline.publish.report import Journal, write_report
from pipeline.settings import DetectorSettings, EmbedderSettings, Settings
from pipeline.track import warm_up
from pipeline.tracklets import TrackletCounts, Tracklets

Detect: TypeAlias = Callable[[Sequence[Frame]], Sequence[Detections]]
_VERSIONS = ("throughline", "openvino", "onnxruntime", "av", "numpy")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What may differ from run to run."""

    output: Path
    duration: float | None = None
    """Seconds, then the run ends."""
    every_frame: bool = False
    """Files as fast as possible and completely, instead of in real time."""
    video: bool = True
    start: float | None = None
    """Capture time at which files begin: fixed, a run over files has the same times every time."""
    identities: Path | None = None
    """The file in which identities outlast the run; by default one in the run's folder."""
    record: bool = False
    """Keep boxes and embeddings for calibration, in `record.db`."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is doing, for whoever shows it."""

    seconds: float
    cameras: dict[str, CameraHealth]
    frames: int
    latency: dict[str, float]
    tracklets: TrackletCounts
    slots: SlotCounts
    people: int


def run(
    settings: Settings,
    options: RunOptions,
    *,
    stop: Callable[[], bool] = lambda: False,
    show: Callable[[Status], None] = lambda status: None,
    detect: Detect | None = None,
) -> dict[str, object]:
    """Run until the sources end, time is up, or `stop` says so. Answers what `summary.json` holds.

    `detect` stands in for the detector that the settings name.
    """
    if not settings.camera:
        raise SettingsError("there is no camera: name at least one address, or a site with --site")
    addresses = [parse_address(camera.address) for camera in settings.camera]
    names = _names(settings, name_cameras(addresses))
    detect = detect or open_detector(settings.detector)
    pool = open_pool(settings.embedder)
    sources = open_sources(
        addresses,
        names,
        IngestOptions(every_frame=options.every_frame, start=options.start),
        max_rates={
            n: c.max_rate for n, c in zip(names, settings.camera, strict=True) if c.max_rate
        },
    )
    folder = _make_folder(options.output)
    # Before the other files: it refuses a folder that another run is writing into.
    store = GalleryStore(
        options.identities or folder / "identities.db", _network(settings.embedder)
    )
    identifier = Identifier(settings.identify(), store)
    journal = Journal()
    with _writing(folder):
        sinks: list[Sink] = [
            journal,
            EventLog(folder / "events.jsonl"),
            TrackFiles(folder / "tracks"),
        ]
    sinks += [AnnotatedVideos(folder)] if options.video else []
    identities: Identities = identifier
    erase_if_expired(folder / "record.db")
    if options.record:
        recorder = Recorder(folder / "record.db", _network(settings.embedder))
        sinks.append(recorder)
        identities = Recorded(identifier, recorder)
    tracklets = Tracklets(pool, names, settings.tracklets)
    loop = LiveLoop(sources, detect, tracklets, identities, sinks, clock=sources.now)
    warm_up()
    begun = shown = time.monotonic()
    ends = math.inf if options.duration is None else begun + options.duration
    sources.start()
    try:
        while not stop() and not sources.finished and time.monotonic() < ends:
            loop.tick()
            if time.monotonic() - shown >= 1.0:
                shown = time.monotonic()
                show(_status(shown - begun, sources, loop.meter, tracklets, pool, identifier))
    finally:
        health = sources.health()
        sources.stop()
        try:
            loop.finish()
            people = len(identifier.list())
        finally:
            identifier.close()
    summary: dict[str, object] = {
        "command": redact(" ".join(sys.argv)),
        **_figures(health, loop.meter, time.monotonic() - begun, live=not options.every_frame),
        "identities": people,
        "uncalibrated": settings.uncalibrated,
        "events": journal.event_counts(),
        "slots": asdict(replace(pool.counts, refused=tracklets.counts.refused)),
        "failed_outputs": dict(loop.failures),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }
    with _writing(folder):
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        write_report(folder / "report.html", summary, journal)
    return summary


def open_detector(settings: DetectorSettings) -> Detect:
    """The detector that the settings name: a package of ours or a foreign graph."""
    path = Path(settings.package)
    if settings.package == DetectorSettings().package and not path.exists():
        raise SettingsError(
            "this version ships no detector: name one with --detector, an ONNX graph or a package made by "
            "`python -m engines fetch yolo11n` and `python -m engines build weights/yolo11n.pt -o DIR`"
        )
    head, size = _head(path)
    spec = DetectorSpec(head=head, size=size, classes=settings.classes, score=settings.score)
    detector = Detector(open_engine(path, precision="fastest"), spec)
    return lambda frames: detector([frame.image for frame in frames])


def open_pool(settings: EmbedderSettings) -> StreamingReid:
    """Slots of the embedder that the settings name; one that embeds single frames gets their mean."""
    path = Path(settings.package)
    kind = adopt(path).kind if is_foreign(path) else read_manifest(path).kind
    engine = open_engine(path, precision="fastest")
    if kind is Kind.GRL_STREAM:
        return StreamingReid(engine, settings.slots)
    if kind is Kind.FRAME_EMBEDDER:
        return StreamingReid(FrameAverages(engine), settings.slots)
    raise SettingsError(f"{path} is a {kind}, not an embedder of crops")


def _head(path: Path) -> tuple[Head, tuple[int, int]]:
    if is_foreign(path):
        adopted = adopt(path)
        head, size = adopted.head, adopted.size
    else:
        manifest = read_manifest(path)
        head, size = manifest.head, manifest.input_size
    if head is None:
        raise SettingsError(f"{path} is not a detector")
    return head, size


def _names(settings: Settings, defaults: Sequence[str]) -> list[str]:
    names = [
        camera.name or default for camera, default in zip(settings.camera, defaults, strict=True)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two cameras are called '{twice[0]}'")
    for name in names:
        if name != Path(name).name or not name.isprintable():
            raise SettingsError(f"a camera cannot be called '{name}': files are named after it")
    return names


def _network(settings: EmbedderSettings) -> str:
    path = Path(settings.package)
    return path.stem if is_foreign(path) else read_manifest(path).network


def _make_folder(path: Path) -> Path:
    with _writing(path):
        (path / "tracks").mkdir(parents=True, exist_ok=True)
        (path / "events.jsonl").touch()
    return path


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def _status(
    seconds: float,
    sources: Sources,
    meter: Meter,
    tracklets: Tracklets,
    pool: StreamingReid,
    identifier: Identifier,
) -> Status:
    return Status(
        seconds=seconds,
        cameras=sources.health(),
        frames=meter.frames,
        latency=dict(meter.latency()),
        tracklets=tracklets.counts,
        slots=pool.counts,
        people=len(identifier.list()),
    )


def _figures(
    health: dict[str, CameraHealth], meter: Meter, wall: float, live: bool
) -> dict[str, object]:
    """What was counted. A latency there is only where pictures come at the pace of their capture."""
    return {
        "seconds": wall,
        "cameras": {
            name: asdict(camera) | {"mean_fps": camera.frames / wall}
            for name, camera in health.items()
        },
        "frames": meter.frames,
        "latency_seconds": dict(meter.latency()) if live else {},
        "stage_seconds": meter.seconds,
    }
