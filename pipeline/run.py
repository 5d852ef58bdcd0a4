"""One run: opens what the settings name, lets the loop run, and leaves a complete folder behind."""

import gc
import importlib.metadata
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import cv2

from engines import StreamingReid
from engines.streaming import SlotCounts
from pipeline.effort import Effort
from pipeline.errors import SettingsError
from pipeline.folder import IDENTITIES, check_inputs, make_folder, write_whole
from pipeline.identify import GalleryStore, Identifier
from pipeline.identify import warm_up as warm_up_identify
from pipeline.ingest import (
    Address,
    CameraHealth,
    IngestOptions,
    Sources,
    name_cameras,
    open_sources,
    parse_address,
    redact,
)
from pipeline.live import LiveLoop, Meter
from pipeline.networks import (
    OpenNetwork,
    may_look_ahead,
    network_of,
    open_detector,
    open_fastest,
    open_pool,
    side_by_side,
    tracking,
)
from pipeline.publish.parts import Parts
from pipeline.publish.record import recorded
from pipeline.publish.report import Journal, write_report
from pipeline.settings import Settings
from pipeline.track import warm_up
from pipeline.tracklets import TrackletCounts, Tracklets
from pipeline.zones import Detect, ignoring

_log = logging.getLogger(__name__)

AHEAD = 4
"""Frames of files that are looked at together: more are no faster."""
HANDS = 2
"""Threads that look at files: while one prepares pictures, and makes boxes of the answer, the network works for the
other. Live, where pictures would wait for one another, there is one."""
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
    open_network: OpenNetwork = open_fastest,
) -> dict[str, object]:
    """Run until the sources end, time is up, or `stop` says so. Answers what `summary.json` holds.

    Where `stop` says so before the first file is written, `KeyboardInterrupt` is raised.

    `detect` stands in for the detector that the settings name. `open_network` opens every engine: the detector's on
    another thread than the caller's, unless its package is one for TensorRT.
    """
    # Its threads turn in circles while they wait for the next small picture: twice the processor's time.
    cv2.setNumThreads(1)
    addresses, names, inputs = _cameras(settings, options)
    zones = {name: camera.ignore for name, camera in zip(names, settings.camera, strict=True)}
    whole = options.every_frame and not any(address.live for address in addresses)
    anywhere = may_look_ahead(settings.detector)
    ahead = (AHEAD if whole else 1) if anywhere else 0
    hands = HANDS if whole and ahead and detect is None else 1
    most = max(len(names), ahead)  # a tick has no more than a picture of each camera

    def look() -> Detect:
        return detect or open_detector(settings.detector, open_network, most, hands)

    detector, pool = side_by_side(
        look,
        partial(open_pool, settings.embedder, open_network),
        threads=anywhere,
    )
    warm_up()  # before the loop, which begins to count
    warm_up_identify(floors=bool(settings.ground))
    detector = ignoring(detector, zones)
    sources = open_sources(
        addresses,
        names,
        IngestOptions(every_frame=options.every_frame, start=options.start),
        max_rates={
            n: c.max_rate for n, c in zip(names, settings.camera, strict=True) if c.max_rate
        },
    )
    if stop():
        raise KeyboardInterrupt  # there is nothing to show for it, so an earlier run's files stay where they are
    folder = make_folder(options.output)
    # Before the other files: it refuses a folder that another run is writing into.
    network, digest = network_of(settings.embedder)
    store = GalleryStore(options.identities or folder / IDENTITIES, network, digest=digest)
    identifier = Identifier(settings.identify(), store)
    identities, recorders = recorded(
        identifier, folder, (network, digest) if options.record else None
    )

    def conclude(
        journal: Journal, health: dict[str, CameraHealth] | None = None
    ) -> dict[str, object]:
        """What there is to say of the run by now, also written down. `health`: of the cameras, in the end."""
        failures = {**loop.failures, **parts.failures}
        if store.unsaved and health is not None:
            failures["identities"] = f"{store.unsaved} tracklets could not be saved"
        summary = {
            "command": redact(" ".join(sys.argv)),
            **_figures(
                health or sources.health(),
                loop.meter,
                time.monotonic() - begun,
                live=not options.every_frame,
            ),
            "identities": len(journal.by_identity()),
            "known": identifier.count,
            "uncalibrated": settings.uncalibrated,
            "earlier": parts.earlier,
            "events": journal.event_counts(),
            "slots": asdict(replace(pool.counts, refused=tracklets.counts.refused)),
            "failed_outputs": failures,
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        }
        _conclude(folder, summary, journal, failures)
        return summary

    parts = Parts(
        folder,
        settings.files if _is_endless(addresses, settings, options) else None,
        video=options.video,
        conclude=conclude,
        inputs=inputs,
    )
    tracklets = Tracklets(
        pool, names, settings.tracklets, settings.floors(), identifier.settings.mapping
    )
    loop = LiveLoop(
        sources,
        detector,
        tracklets,
        identities,
        [*recorders, parts],
        clock=sources.now,
        effort=None if options.every_frame else Effort(settings.tracklets.budget),
        ahead=ahead,
        hands=hands,
        tracking=tracking(settings.detector),
    )
    begun = time.monotonic()
    ends = math.inf if options.duration is None else begun + options.duration
    status = partial(_status, sources, loop.meter, tracklets, pool, identifier)
    try:
        with _short_collections():  # the first of which takes long: before a frame can come
            sources.start()
            loop.run(
                _until(stop, ends, sources),
                after=_each_second(lambda now: show(status(now - begun))),
            )
    finally:
        health = sources.health()
        sources.stop()
        try:
            loop.finish()
        finally:
            identifier.close()
    return conclude(parts.journal, health)


def _is_endless(addresses: Sequence[Address], settings: Settings, options: RunOptions) -> bool:
    """Whether a run is made to go on beyond its files' first part."""
    ends = math.inf if options.duration is None else options.duration
    return any(address.live for address in addresses) and ends > 3600 * settings.files.part_hours


def _until(stop: Callable[[], bool], ends: float, sources: Sources) -> Callable[[], bool]:
    """Whether a run is over. What comes while its last frames are worked on is nobody's loss."""

    def over() -> bool:
        if not stop() and time.monotonic() < ends:
            return False
        sources.enough()
        return True

    return over


def _each_second(tell: Callable[[float], None]) -> Callable[[], None]:
    """Tells the time, when a second has passed since it did."""
    told = time.monotonic()

    def after() -> None:
        nonlocal told
        if time.monotonic() - told >= 1.0:
            told = time.monotonic()
            tell(told)

    return after


@contextmanager
def _short_collections() -> Iterator[None]:
    """Collections of garbage look at what is new only: one that looks at all modules stops a loop for 0.1 s."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _conclude(
    folder: Path, summary: dict[str, object], journal: Journal, failures: dict[str, str]
) -> None:
    """The files that are written last. The caller gets the summary in any case, and what failed in it."""
    for name, write in (
        ("report.html", partial(write_report, summary=summary, journal=journal)),
        ("summary.json", partial(write_whole, text=json.dumps(summary, indent=2) + "\n")),
    ):
        try:
            write(folder / name)
        except OSError as error:
            failures[name] = error.strerror or str(error)
        except ValueError as error:
            failures[name] = str(error)


def _cameras(
    settings: Settings, options: RunOptions
) -> tuple[list[Address], list[str], list[Path]]:
    """Where they are, what they are called, and which of them are files."""
    if not settings.camera:
        raise SettingsError("there is no camera: name at least one address, or a site with --site")
    addresses = [parse_address(camera.address) for camera in settings.camera]
    names = settings.names(name_cameras(addresses))
    strangers = ", ".join(f"'{name}'" for name in sorted(settings.mentioned() - {*names}))
    if strangers:
        _log.warning("the site speaks of cameras that are not there: %s", strangers)
    inputs = [Path(address.location) for address in addresses if not address.live]
    check_inputs(options.output, inputs, names if options.video else ())
    return addresses, names, inputs


def _status(
    sources: Sources,
    meter: Meter,
    tracklets: Tracklets,
    pool: StreamingReid,
    identifier: Identifier,
    seconds: float,
) -> Status:
    return Status(
        seconds=seconds,
        cameras=sources.health(),
        frames=meter.frames,
        latency=dict(meter.latency()),
        tracklets=tracklets.counts,
        slots=pool.counts,
        people=identifier.count,
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
        "processor_seconds": time.process_time() - meter.processor,
    }
